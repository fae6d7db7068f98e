"""Errors that a user can fix: one line that names the place, the value and the remedy.

Every class here ends a stage with exit code 2 and its text on one line (see ``maskline.cli.entry``). Programmer
errors stay what they are in Python (``AssertionError``, ``TypeError``) and keep their traceback.
"""

from maskline.core.text import one_line


class MasklineError(Exception):
    """Base of all errors a user can fix.

    Args:
        place: Where it is wrong: a file, a file and key, a manifest row.
        problem: What is wrong there, with the offending value.
        remedy: What to do about it.
    """

    exit_code = 2
    listing: str = ""
    """File that lists all problems; empty where there is none."""

    def __init__(self, place: object, problem: str, remedy: str) -> None:
        super().__init__(one_line(f"{place}: {problem}; {remedy}"))
        self.place = str(place)
        self.problem = problem
        self.remedy = remedy

    def __reduce__(self) -> tuple[type, tuple[object, ...]]:
        """Rebuild from the three parts, so that a loader process can hand an error over."""
        return type(self), (self.place, self.problem, self.remedy)


class ParamsError(MasklineError, ValueError):
    """A value in params.yaml that cannot be used."""


class DataError(MasklineError, ValueError):
    """A source file, archive or manifest that cannot be used."""


class ShapeError(MasklineError, ValueError):
    """A tensor whose shape or type does not fit where it is given."""


class CheckpointError(MasklineError, ValueError):
    """A weights file that cannot be loaded."""


class ExportError(MasklineError, RuntimeError):
    """An exported model that does not agree with the trained one."""


class TrainingError(MasklineError, RuntimeError):
    """Training cannot go on (a loss that is not finite, a second trainer on one journal)."""


class StorageError(MasklineError, OSError):
    """A file that cannot be written: full disk, read-only folder."""


class InputsChangedError(MasklineError, RuntimeError):
    """A dependency or parameter was edited while the stage that reads it ran."""


class ProjectBusyError(MasklineError, RuntimeError):
    """A dvc command is at work in the project, so that nothing can be fixed there."""


class DataProblemsError(DataError):
    """Several data problems found in one pass, listed together.

    Args:
        problems: At least one error; its text is one line each.
        place: The data set they were found in.
    """

    def __init__(self, place: object, problems: "list[DataError]") -> None:
        assert problems, "DataProblemsError needs at least one problem"
        first = problems[0]
        if len(problems) == 1:
            super().__init__(first.place, first.problem, first.remedy)
        else:
            super().__init__(place, f"{len(problems)} problems, the first: {first}", "fix all that are listed")
        self.problems = tuple(problems)

    def __reduce__(self) -> tuple[type, tuple[object, ...]]:
        """Rebuild from the list of problems."""
        return type(self), (self.place, list(self.problems))

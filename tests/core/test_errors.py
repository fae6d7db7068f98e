import pytest

from maskline.core.errors import DataError, DataProblemsError, MasklineError, ParamsError, StorageError
from maskline.core.text import one_line


def test_text_names_place_problem_and_remedy_on_one_line():
    error = ParamsError("params.yaml: optimizer.lr", "-1 is\nwrong", "give a number  above 0")
    assert str(error) == "params.yaml: optimizer.lr: -1 is wrong; give a number above 0"
    assert (error.place, error.remedy) == ("params.yaml: optimizer.lr", "give a number  above 0")


@pytest.mark.parametrize(("kind", "builtin"), [(ParamsError, ValueError), (StorageError, OSError)])
def test_callers_can_catch_the_builtin_family(kind, builtin):
    with pytest.raises(builtin) as caught:
        raise kind("here", "wrong", "fix")
    assert isinstance(caught.value, MasklineError)
    assert str(caught.value) == "here: wrong; fix"


def test_every_user_error_ends_with_exit_code_2():
    def below(kind):
        return [kind, *(found for child in kind.__subclasses__() for found in below(child))]

    assert {kind.exit_code for kind in below(MasklineError)} == {2}


def test_several_problems_are_all_kept_in_order():
    problems = [DataError(f"image {i}", "too small", "give a larger one") for i in range(3)]
    error = DataProblemsError("set", problems)
    assert list(error.problems) == problems
    assert str(error) == "set: 3 problems, the first: image 0: too small; give a larger one; fix all that are listed"


def test_a_single_problem_reads_as_itself():
    only = DataError("image 0", "too small", "give a larger one")
    assert str(DataProblemsError("set", [only])) == str(only)


def test_no_problem_is_a_programmers_mistake():
    with pytest.raises(AssertionError):
        DataProblemsError("set", [])


def test_one_line_folds_all_white_space():
    assert one_line(" a\n\tb \r\n c ") == "a b c"

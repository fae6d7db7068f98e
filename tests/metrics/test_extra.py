import numpy as np
import pytest

from maskline.metrics.extra import Measures, known_measures, known_scores
from maskline.metrics.extra_scores import extra_scores
from maskline.params.evaluate import EvaluateParams
from maskline.params.measures import MEASURES

OPTIONS = EvaluateParams().model_dump()


def test_the_table_and_the_functions_are_the_same():
    assert set(MEASURES) == set(known_measures())
    assert len(known_scores()) == sum(len(measure.scores) for measure in known_measures().values())
    assert {key for measure in known_measures().values() for key in measure.options} <= OPTIONS.keys()


@pytest.mark.parametrize("name", MEASURES)
@pytest.mark.parametrize("num_classes", [2, 3])
def test_a_measure_gives_the_scores_that_it_names_within_their_range(name, num_classes):
    generator = np.random.default_rng(0)
    extras = []
    for _ in range(3):
        probabilities = generator.dirichlet(np.ones(num_classes), (12, 15)).transpose(2, 0, 1).astype(np.float32)
        target = generator.integers(0, num_classes, (12, 15))
        target[0] = 255
        extras.append(
            Measures(names=(name,), options=OPTIONS).measure(
                probabilities.argmax(0), target, probabilities, ignore_index=255, num_classes=num_classes
            )
        )
    scores = extra_scores(extras, class_keys=list("abc")[:num_classes], weights=np.ones((2, 3)))
    scores.pop("per_class", None)
    assert list(scores) == [score.key for score in known_measures()[name].scores]
    for key, values in scores.items():
        assert values.shape == (2,)
        assert (values >= 0).all()
        assert (values <= known_scores()[key].highest).all()


def test_only_counted_measures_need_probabilities():
    assert not Measures(names=("boundary", "surface", "cldice"), options=OPTIONS).need_probabilities
    assert Measures(names=("boundary", "ranking"), options=OPTIONS).need_probabilities

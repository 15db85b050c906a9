import inspect

import transformers

from nni_magic.support.names import MASK_ARGUMENT


def test_mask_argument_is_that_of_the_models_of_transformers():
    for model in (transformers.BertForMaskedLM, transformers.ElectraForPreTraining):
        assert MASK_ARGUMENT in inspect.signature(model.forward).parameters

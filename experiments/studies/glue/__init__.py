"""Found children beside BERT's layers and random children of equal parameters, on GLUE's tasks."""

-- Apart from the reset, because not every role may do it.
CHECKPOINT;

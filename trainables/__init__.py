"""Trains one configuration with PyTorch; imports neither Ray nor Optuna.

    supervised     the built-in task: images and tables by name, trained by `training`
    own            training code of the user's own: a loop or a class
    training       the loop, optimizer, loss and metrics of the built-in networks
    augmentation   whole batches of images changed on the device
    models         the built-in networks, and what they cost
    sources        one file per data set, their catalogue, and `load`
    images         image files as uint8
    data           data sets, tables and columns in memory
    files          files that are complete or absent: checkpoints and their format, stores, downloads
    trainable      the protocol that everything trained here follows
    cpu            what Linux says of the processor
    plain          the switch that turns off all uses of private parts

Each wing may import those below it.
Imports none of the other packages; every one of them may import it.
"""

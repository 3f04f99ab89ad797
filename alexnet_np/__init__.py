"""AlexNet in array code, forward and backward by hand: on NumPy with a fast CPU engine, and on CuPy.

In short:

    from alexnet_np import models, losses, optim
    net = models.alexnet(num_classes=10)
    logits = net.forward(images, training=True)          # images (N, H, W, 3), float32
    loss, dlogits = losses.softmax_cross_entropy(logits, labels)
    net.backward(dlogits)
    optim.SGD(net.parameters(), lr=0.01, momentum=0.9).step()
"""

from . import layers as layers, losses as losses, models as models, optim as optim, weights as weights

__version__ = "0.1.0"

"""The process of the zoo's check that runs a net in OpenCV 4, whose versions 5 and later read no Caffe."""

from typing import Any

import cv2
import numpy as np
from zoo_worker import Answer, Job, serve


def forward(job: Job) -> Answer:
    """Save the scores: what the Softmax reads, or the last output where there is none."""
    dnn: Any = cv2.dnn
    net = dnn.readNetFromCaffe(job.prototxt, job.caffemodel)
    net.setPreferableBackend(dnn.DNN_BACKEND_OPENCV)
    net.enableFusion(False)
    names = net.getLayerNames()
    last = net.getLayer(net.getLayerId(names[-1]))
    net.setInput(np.load(job.image))
    np.save(job.output, net.forward(names[-2] if last.type == "Softmax" else names[-1]))
    return {"version": cv2.__version__}


if __name__ == "__main__":
    serve({"forward": forward})

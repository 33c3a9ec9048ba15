"""The model repository: a folder of models and versions, what is published in it, and its copy on local disk.

    <root>/<model>/model.json
    <root>/<model>/<version, a whole number>/{model.onnx | factors.npz, ...}
    <root>/<model>/<version>/manifest.json      the file that publishes the version, written last

Knows files, not models: nothing here loads one.
"""

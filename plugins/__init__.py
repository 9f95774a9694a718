"""The detections that ship with the sensor, one file each, installed as `sensor_plugins`."""

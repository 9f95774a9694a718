"""Alerts: input from detections, records for outputs, and the folding of repeats into incidents.

| file | what it is |
| --- | --- |
| `alert.py` | the alert that a detection returns |
| `record.py` | the records that outputs and stores receive, with their ids and lines |
| `incident.py` | the folding of repeats into an alert that was already sent |
"""

from sensor.alerts.alert import Alert, Severity
from sensor.alerts.incident import Incidents
from sensor.alerts.record import AlertRecord, AlertUpdate, State, alert_id, identify, line_id

__all__ = ["Alert", "AlertRecord", "AlertUpdate", "Incidents", "Severity", "State", "alert_id", "identify", "line_id"]

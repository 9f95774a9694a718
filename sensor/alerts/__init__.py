"""Alerts: what detections say comes in, records and what is folded into them go out.

| file | what it is |
| --- | --- |
| `alert.py` | what a detection returns |
| `record.py` | the records that outputs and stores carry, their ids and lines |
| `incident.py` | which repeats are folded into an alert that went out |
"""

from sensor.alerts.alert import Alert, Severity
from sensor.alerts.incident import Incidents
from sensor.alerts.record import AlertRecord, AlertUpdate, State, alert_id, identify, line_id

__all__ = ["Alert", "AlertRecord", "AlertUpdate", "Incidents", "Severity", "State", "alert_id", "identify", "line_id"]

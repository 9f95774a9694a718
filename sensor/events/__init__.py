"""Events of the flow table and of protocols, as columns.

Input is rows of the flow table and of the protocols' analyzers; output is batches for detections, one for each event.

| file | what it is |
| --- | --- |
| `catalogue.py` | every event that a detection can name, and its columns |
| `batch.py` | rows of one event |
| `columns.py` | columns of addresses, and of text |
"""

from sensor.events.batch import Batch, empty, split
from sensor.events.catalogue import EVENTS, columns
from sensor.events.columns import AddressColumn, TextColumn
from sensor.flows import ConnState

__all__ = ["EVENTS", "AddressColumn", "Batch", "ConnState", "TextColumn", "columns", "empty", "split"]

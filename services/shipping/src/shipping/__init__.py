"""Shipping owns consignments (where an order goes and what it weighs) and shipments (its parcels, labels and tracking).

Hears: order.placed, order.paid, order.cancelled. Carriers are heard through Shippo's webhooks.
Says: shipment.prepared, shipment.labelled, shipment.voided, shipment.dispatched, shipment.delivered, shipment.returned,
shipment.failed.
Never knows: what an order costs, how it is paid, who is told about it.
"""

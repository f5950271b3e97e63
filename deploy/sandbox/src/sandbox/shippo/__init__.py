"""Shippo's API as far as a shop needs it: shipments with rates, labels (transactions), label refunds, tracking.

Promises: answers have Shippo's shapes; labels are real PDFs; buying twice with one rate buys two labels, because Shippo has
no idempotency; carriers' scans come by a control call and are told by `track_updated`.
Not here: stored addresses and parcels, customs, batches, labels that are bought in the background (`async` is ignored).
"""

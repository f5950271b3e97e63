"""Orders alone decides an order's life.

Owns: orders (one row each: lines, money, status, the flat fields of every list), customers, SKUs and prices,
discount codes, the timeline.
Hears: `catalog-skus`, `payment-events`, `shipment-events`. Says: `order-events`, `catalog-skus` (staff).
Never knows: how a payment is taken, how a parcel travels, who is told about it; it calls no other service.
"""

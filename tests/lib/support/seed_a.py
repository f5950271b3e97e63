"""What a client of seed A sends: one document for each of its queries and mutations, each selecting all that there is."""

_ITEM = "id productId productName productSku quantity price subtotal"
_ADDRESS = "street street2 city state zipCode country"
ORDER = f"""
    id orderNumber customerId customer {{ id firstName lastName email phone }} status paymentStatus items {{ {_ITEM} }}
    shippingAddress {{ {_ADDRESS} }} billingAddress {{ {_ADDRESS} }}
    subtotal shipping tax discount platformFee stripeFee total paymentMethod paymentIntentId
    tracking trackingUrl shippingCarrier shippingService shippoLabelUrl
    orderType preOrderItems {{ {_ITEM} }} estimatedFulfillmentDate
    flatRateCharged actualShippingCost usedFlatRate deliverySpeedSelected deliveryDeadline
    shippedAt deliveredAt cancelledAt notes createdAt updatedAt
    itemCount isShippable isCancellable isRefundable isPreOrder shippingMargin siteOwnerAmount
"""
_PAGE = f"nodes {{ {ORDER} }} pageInfo {{ page limit total pages hasNext hasPrev }}"

DOCUMENTS = {
    "orders": f"""query Orders($filter: OrderFilterInput, $sort: SortInput, $page: Int, $limit: Int) {{
        orders(filter: $filter, sort: $sort, page: $page, limit: $limit) {{ {_PAGE} }}
    }}""",
    "order": f"query Order($id: ID!) {{ order(id: $id) {{ {ORDER} }} }}",
    "orderByNumber": f"query ByNumber($orderNumber: String!) {{ orderByNumber(orderNumber: $orderNumber) {{ {ORDER} }} }}",
    "myOrders": f"query Mine($page: Int, $limit: Int) {{ myOrders(page: $page, limit: $limit) {{ {_PAGE} }} }}",
    "orderStats": """{ orderStats {
        totalOrders pendingOrders processingOrders shippedOrders deliveredOrders cancelledOrders totalRevenue averageOrderValue
    } }""",
    "pendingOrders": f"{{ pendingOrders {{ {ORDER} }} }}",
    "processingOrders": f"{{ processingOrders {{ {ORDER} }} }}",
    "shippedOrders": f"""query Shipped($filter: ShippedOrderFilterInput, $sort: SortInput, $page: Int, $limit: Int) {{
        shippedOrders(filter: $filter, sort: $sort, page: $page, limit: $limit) {{ {_PAGE} }}
    }}""",
    "ordersByStatus": f"""query ByStatus($status: OrderStatus!, $page: Int, $limit: Int) {{
        ordersByStatus(status: $status, page: $page, limit: $limit) {{ {_PAGE} }}
    }}""",
    "updateOrderStatus": f"""mutation Status($id: ID!, $input: UpdateOrderStatusInput!) {{
        updateOrderStatus(id: $id, input: $input) {{ {ORDER} }}
    }}""",
    "updateOrderShipping": f"""mutation Shipping($id: ID!, $input: UpdateOrderShippingInput!) {{
        updateOrderShipping(id: $id, input: $input) {{ {ORDER} }}
    }}""",
    "addOrderTracking": f"mutation Track($id: ID!, $tracking: String!) {{ addOrderTracking(id: $id, tracking: $tracking) {{ {ORDER} }} }}",
    "cancelOrder": f"mutation Cancel($id: ID!) {{ cancelOrder(id: $id) {{ {ORDER} }} }}",
    "refundOrder": f"""mutation Refund($id: ID!, $amount: Float, $reason: String) {{
        refundOrder(id: $id, amount: $amount, reason: $reason) {{ {ORDER} }}
    }}""",
    "markOrderDelivered": f"mutation Delivered($id: ID!) {{ markOrderDelivered(id: $id) {{ {ORDER} }} }}",
    "updateOrderNotes": f"mutation Notes($id: ID!, $notes: String!) {{ updateOrderNotes(id: $id, notes: $notes) {{ {ORDER} }} }}",
}

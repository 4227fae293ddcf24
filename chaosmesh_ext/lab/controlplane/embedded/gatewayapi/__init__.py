"""The Gateway API: its HTTPRoutes and Gateways become VirtualServices and Gateways of Istio, as istiod makes them."""

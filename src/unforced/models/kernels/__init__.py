"""Kernels: attention, rotary positions, selective scan, short convolution; and the rules that select them."""

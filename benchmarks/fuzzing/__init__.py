"""The parts of `benchmarks.fuzz`: each makes inputs from a seed, gives them to the product and checks what came."""

"""P4 programs in Linux's XDP: the engine's LLVM code, compiled to BPF, linked, and loaded by system call."""

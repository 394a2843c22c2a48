"""The lab "Paxos acceptor"."""

// A Paxos acceptor.
#include <core.p4>
#include <v1model.p4>

const bit<16> PAXOS = 7100;
const bit<8> PREPARE = 1;
const bit<8> PROMISE = 2;
const bit<8> ACCEPT = 3;
const bit<8> VOTE = 4;
const bit<8> REFUSAL = 5;

header ethernet_t {
    bit<48> dst;
    bit<48> src;
    bit<16> type;
}

header ipv4_t {
    bit<4> version;
    bit<4> ihl;
    bit<6> dscp;
    bit<2> ecn;
    bit<16> length;
    bit<16> id;
    bit<3> flags;
    bit<13> fragment;
    bit<8> ttl;
    bit<8> protocol;
    bit<16> checksum;
    bit<32> src;
    bit<32> dst;
}

header udp_t {
    bit<16> sport;
    bit<16> dport;
    bit<16> length;
    bit<16> checksum;
}

header paxos_t {
    bit<8> kind;
    bit<32> instance;
    bit<16> round;
    bit<16> voted;
    bit<16> acceptor;
    bit<64> value;
}

struct headers_t {
    ethernet_t ethernet;
    ipv4_t ipv4;
    udp_t udp;
    paxos_t paxos;
}

struct metadata_t {}

parser parse(packet_in packet, out headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    state start {
        packet.extract(hdr.ethernet);
        transition select(hdr.ethernet.type) {
            0x0800: ipv4;
            default: accept;
        }
    }

    state ipv4 {
        packet.extract(hdr.ipv4);
        transition select(hdr.ipv4.ihl, hdr.ipv4.protocol) {
            (5, 17): udp;
            default: accept;
        }
    }

    state udp {
        packet.extract(hdr.udp);
        transition select(hdr.udp.dport) {
            PAXOS: paxos;
            default: accept;
        }
    }

    state paxos {
        packet.extract(hdr.paxos);
        transition accept;
    }
}

control check(inout headers_t hdr, inout metadata_t meta) {
    apply {}
}

control ingress(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    bit<16> me = 0;
    bit<16> group = 0;
    bit<32> begin = 0;

    action member(bit<16> acceptor, bit<16> learners, bit<32> first) {
        me = acceptor;
        group = learners;
        begin = first;
    }

    table setup {
        actions = {
            member;
        }
        default_action = member(0, 0, 0);
    }

    action reply(bit<8> kind, bit<16> round, bit<16> vote, bit<64> value) {
        hdr.paxos.kind = kind;
        hdr.paxos.round = round;
        hdr.paxos.voted = vote;
        hdr.paxos.value = value;
        bit<48> mac = hdr.ethernet.dst;
        hdr.ethernet.dst = hdr.ethernet.src;
        hdr.ethernet.src = mac;
        bit<32> address = hdr.ipv4.dst;
        hdr.ipv4.dst = hdr.ipv4.src;
        hdr.ipv4.src = address;
        bit<16> port = hdr.udp.dport;
        hdr.udp.dport = hdr.udp.sport;
        hdr.udp.sport = port;
        std.egress_spec = std.ingress_port;
    }

    apply {
        setup.apply();
        // TODO: promise, vote or refuse. Until then, every message is refused.
        if (hdr.paxos.isValid() && (hdr.paxos.kind == PREPARE || hdr.paxos.kind == ACCEPT)) {
            reply(REFUSAL, 0, 0, 0);
            hdr.paxos.acceptor = me;
        } else {
            mark_to_drop(std);
        }
    }
}

control egress(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    apply {}
}

control compute(inout headers_t hdr, inout metadata_t meta) {
    apply {}
}

control deparse(packet_out packet, in headers_t hdr) {
    apply {
        packet.emit(hdr);
    }
}

V1Switch(parse(), check(), ingress(), egress(), compute(), deparse()) main;

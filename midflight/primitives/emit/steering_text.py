"""The P4 text of compute-aware forwarding, in which `%(name)d` stands for a number of the program's `Steering`."""

from __future__ import annotations

from midflight.primitives.steering import TUNNEL_PORT

__all__ = ["ACTIONS", "APPLY", "CHECKSUMS", "CONSTANTS", "HEADERS", "METADATA", "PARSER"]

CONSTANTS = f"""
const bit<8> PROTOCOL_ICMP = 1;
const bit<8> PROTOCOL_TCP = 6;
const bit<8> PROTOCOL_ICMPV6 = 58;
const bit<16> TUNNEL_PORT = {TUNNEL_PORT};     // IP in UDP between forwarders

// The source of packets between forwarders: dummy addresses (RFC 7600, RFC 6666), as no one replies.
const bit<32> FORWARDER = 0xC000_0008;
const bit<32> DO_NOT_FRAGMENT = 0x4000;  // and no identification
const bit<8> HOPS = 64;
const bit<128> FORWARDER_IPV6 = 0x0100_0000_0000_0000_0000_0000_0000_0008;

// Why a request is not steered, or a packet between forwarders dropped: the indexes of `unsteered`.
const bit<32> NO_INSTANCE = 0;         // its bucket has no instance; it is routed to the service's address
const bit<32> NOT_A_TRUNK = 1;         // it came by a port behind which there is no forwarder
const bit<32> BAD_INNER = 2;           // the inner packet has options, no hops left, or cannot note congestion
const bit<32> TOO_LONG = 3;            // it does not fit between forwarders; the sender of UDP or TCP is notified
"""

HEADERS = """
// The ports of TCP, by which requests are classified and flows told apart. With the next field, what ICMP quotes of it.
header tcp_t {
    bit<16> source;
    bit<16> destination;
    bit<32> sequence;
}

// The IPv4 and UDP headers in front of a request. They are only written, which is quicker in words.
header outer_ipv4_t {
    bit<32> start;  // version, header length, traffic class, and length
    bit<48> hops;   // identification, flags, fragment offset, hops, and protocol
    bit<16> checksum;
    bit<64> addresses;
}

header outer_udp_t {
    bit<64> all;
}

// An error of ICMP (RFC 792, RFC 4443).
header icmp_t {
    bit<8> kind;
    bit<8> code;
    bit<16> checksum;
    bit<32> mtu;
}
"""

PARSER = """
// Packets between forwarders: an IP packet follows. Nothing in it is computed on.
state parse_inner {
    transition select(packet.lookahead<bit<4>>()) {
        4: parse_inner_ipv4;
        6: parse_inner_ipv6;
        default: accept;
    }
}

state parse_inner_ipv4 {
    packet.extract(hdr.inner_ipv4);
    transition accept;
}

state parse_inner_ipv6 {
    packet.extract(hdr.inner_ipv6);
    transition accept;
}

state parse_tcp {
    packet.extract(hdr.tcp);
    transition accept;
}
"""

METADATA = """
bit<16> instance;  // the number of the instance that a kernel has chosen (CSCI-ID), or 0
bool steered;      // it has been steered, and needs no route
"""

ACTIONS = """
// Requests and packets between forwarders that are not steered.
counter(4, CounterType.packets) unsteered;
// What each instance is sent from here.
counter(%(counted)d, CounterType.packets_and_bytes) requests;

bit<128> source;
bit<128> destination;
bit<8> protocol;
bit<16> source_port;
bit<16> destination_port;
bit<6> dscp;
bit<20> flow_label;
bit<16> application;
bit<1> classified;
bit<%(pool_bits)d> pool;
bit<32> flow;
bit<%(bucket_bits)d> bucket;
bit<16> length;
bit<9> port;
bit<48> mac;
bit<16> room;  // the largest request that fits between forwarders, or 0 for one that need not
bit<8> traffic_class;
bit<8> congestion;
bit<128> contact;

action service(bit<%(pool_bits)d> pool_number, bit<1> has_rules) {
    pool = pool_number;
    classified = has_rules;
}

// The services, by the address that all their instances share (CS-ID); IPv4 addresses are mapped as in RFC 6052.
table services {
    key = {
        destination: lpm @name("address");
    }
    actions = {
        service;
        NoAction;
    }
    const default_action = NoAction();
    size = %(services)d;
}

action class_is(bit<%(pool_bits)d> pool_number) {
    pool = pool_number;
}

// The traffic classifier (C-TC): requests of a class have a pool of their own.
table classes {
    key = {
        pool: exact @name("pool");
        source: ternary @name("source");
        protocol: ternary @name("protocol");
        destination_port: ternary @name("port");
        dscp: ternary @name("dscp");
        flow_label: ternary @name("flow_label");
        application: ternary @name("application");
    }
    actions = {
        class_is;
        NoAction;
    }
    const default_action = NoAction();
    size = %(rules)d;
}

action way_is(bit<16> instance, bit<9> egress_port, bit<48> neighbour) {
    requests.count((bit<32>)instance);
    meta.steered = true;
    port = egress_port;
    mac = neighbour;
}

action to_attached(bit<16> instance, bit<9> egress_port, bit<48> neighbour) {
    way_is(instance, egress_port, neighbour);
}

action to_contact(bit<16> instance, bit<9> egress_port, bit<48> neighbour, bit<32> address) {
    way_is(instance, egress_port, neighbour);
    contact = (bit<128>)address;
    room = %(room)d;
}

action to_contact_ipv6(bit<16> instance, bit<9> egress_port, bit<48> neighbour, bit<128> address) {
    way_is(instance, egress_port, neighbour);
    contact = address;
    room = %(room_ipv6)d;
}

// Who serves the flows of a bucket, and the way there: it is behind this switch, or behind another forwarder, which has
// the contact address. The controller changes as few buckets as it can, so that flows stay.
table buckets {
    key = {
        pool: exact @name("pool");
        bucket: exact @name("bucket");
    }
    actions = {
        to_attached;
        to_contact;
        to_contact_ipv6;
        NoAction;
    }
    const default_action = NoAction();
    size = %(entries)d;
}

// The way to the instances that kernels choose.
table instances {
    key = {
        meta.instance: exact @name("instance");
    }
    actions = {
        to_attached;
        to_contact;
        to_contact_ipv6;
        NoAction;
    }
    const default_action = NoAction();
    size = %(instances)d;
}

// To the neighbour, with a hop less. The checksum changes with the hops (RFC 1624, equation 3).
action leave() {
    standard_metadata.egress_spec = port;
    hdr.ethernet.source = hdr.ethernet.destination;
    hdr.ethernet.destination = mac;
    bit<17> sum = (bit<17>)(~hdr.ipv4.checksum) + 0xFEFF;
    hdr.ipv4.checksum = ~(sum[15:0] + (bit<16>)sum[16:16]);
    hdr.ipv4.ttl = hdr.ipv4.ttl - 1;
    hdr.ipv6.hop_limit = hdr.ipv6.hop_limit - 1;
}

// Write an IPv4 header without options: with `start`, its words before the checksum, and the addresses.
action write_ipv4(bit<32> start, bit<48> hops, bit<32> from, bit<32> to) {
    bit<32> sum = (start >> 16) + (start & 0xFFFF) + (bit<32>)hops[31:16] + (bit<32>)hops[15:0]
        + (from >> 16) + (from & 0xFFFF) + (to >> 16) + (to & 0xFFFF);
    sum = (sum >> 16) + (sum & 0xFFFF);
    hdr.ethernet.ether_type = ETHERTYPE_IPV4;
    hdr.outer_ipv4 = { start = start, hops = hops, checksum = ~(bit<16>)((sum >> 16) + sum), addresses = from ++ to };
}

// In front of the request: IP in UDP without a checksum, from a port by which routers tell flows apart.
action write_udp() {
    hdr.outer_udp = { all = 2w3 ++ flow[31:18] ++ TUNNEL_PORT ++ (length + 8) ++ 16w0 };
}

action enclose_ipv4() {
    bit<32> start = 8w0x45 ++ traffic_class ++ (length + 28);
    write_ipv4(start, DO_NOT_FRAGMENT ++ HOPS ++ PROTOCOL_UDP, FORWARDER, contact[31:0]);
    write_udp();
}

action enclose_ipv6() {
    hdr.ethernet.ether_type = ETHERTYPE_IPV6;
    hdr.outer_ipv6 = {
        version = 6, traffic_class = traffic_class, flow_label = flow[31:12], length = length + 8,
        next_header = PROTOCOL_UDP, hop_limit = HOPS, source = FORWARDER_IPV6, destination = contact
    };
    write_udp();
}

// A request that does not fit goes back as an error, which quotes its first bytes and says what does fit.
action turn_back() {
    bit<48> sender = hdr.ethernet.source;
    standard_metadata.egress_spec = standard_metadata.ingress_port;
    hdr.ethernet.source = hdr.ethernet.destination;
    hdr.ethernet.destination = sender;
}

action refuse_ipv4() {
    turn_back();
    write_ipv4(0x4500_0038, 32w0 ++ HOPS ++ PROTOCOL_ICMP, hdr.ipv4.destination, hdr.ipv4.source);
    hdr.icmp = { kind = 3, code = 4, checksum = 0, mtu = (bit<32>)room };
    truncate(14 + 56);
}

action refuse_ipv6() {
    turn_back();
    hdr.outer_ipv6 = {
        version = 6, traffic_class = 0, flow_label = 0, length = 56, next_header = PROTOCOL_ICMPV6, hop_limit = HOPS,
        source = hdr.ipv6.destination, destination = hdr.ipv6.source
    };
    hdr.icmp = { kind = 2, code = 0, checksum = 0, mtu = (bit<32>)room };
    truncate(14 + 40 + 56);
}

// The ports behind which there are forwarders. Hosts cannot send packets as one.
table trunks {
    key = {
        standard_metadata.ingress_port: exact @name("port");
    }
    actions = {
        NoAction;
    }
    const default_action = NoAction();
    size = 512;
}

action to_instance(bit<9> egress_port, bit<48> neighbour) {
    meta.steered = true;
    port = egress_port;
    mac = neighbour;
}

// The contact addresses of the instances behind this switch, which is their egress forwarder.
table contacts {
    key = {
        destination: exact @name("address");
    }
    actions = {
        to_instance;
        NoAction;
    }
    const default_action = NoAction();
    size = %(instances)d;
}

// The outer headers go; what was inside has a hop less.
action open_ipv4() {
    hdr.ethernet.ether_type = ETHERTYPE_IPV4;
    hdr.ipv4.setInvalid();
    hdr.ipv6.setInvalid();
    hdr.udp.setInvalid();
    hdr.inner_ipv4.ttl = hdr.inner_ipv4.ttl - 1;
    hdr.inner_ipv4.tos = hdr.inner_ipv4.tos | congestion;
}

action open_ipv6() {
    hdr.ethernet.ether_type = ETHERTYPE_IPV6;
    hdr.ipv4.setInvalid();
    hdr.ipv6.setInvalid();
    hdr.udp.setInvalid();
    hdr.inner_ipv6.hop_limit = hdr.inner_ipv6.hop_limit - 1;
    hdr.inner_ipv6.traffic_class = hdr.inner_ipv6.traffic_class | congestion;
}
"""

APPLY = """
destination = IPV4_IN_IPV6 ++ hdr.ipv4.destination;
traffic_class = hdr.ipv4.tos;
if (hdr.ipv6.isValid()) {
    destination = hdr.ipv6.destination;
    traffic_class = hdr.ipv6.traffic_class;
}
port = 0;
mac = 0;
if (hdr.udp.isValid() && hdr.udp.destination == TUNNEL_PORT) {
    if (!trunks.apply().hit) {
        unsteered.count(NOT_A_TRUNK);
        meta.steered = true;
        mark_to_drop(standard_metadata);
    } else if (contacts.apply().hit) {
        leave();
        // Congestion on the way is noted in the inner packet, which is dropped if it cannot (RFC 6040).
        congestion = 0;
        if (traffic_class[1:0] == 3) {
            congestion = 3;
        }
        if (hdr.inner_ipv4.isValid() && hdr.inner_ipv4.ihl == 5 && hdr.inner_ipv4.ttl > 1
                && (congestion == 0 || hdr.inner_ipv4.tos[1:0] != 0)) {
            open_ipv4();
        } else if (hdr.inner_ipv6.isValid() && hdr.inner_ipv6.hop_limit > 1
                && (congestion == 0 || hdr.inner_ipv6.traffic_class[1:0] != 0)) {
            open_ipv6();
        } else {
            unsteered.count(BAD_INNER);
            mark_to_drop(standard_metadata);
        }
    }
    return;
}
pool = 0;
classified = 0;
if (!services.apply().hit) {
    return;
}

// Which flow it is, by source and ports. Packets without ports, such as fragments, are told apart by source alone.
source_port = 0;
destination_port = 0;
if (hdr.udp.isValid()) {
    source_port = hdr.udp.source;
    destination_port = hdr.udp.destination;
} else if (hdr.tcp.isValid()) {
    source_port = hdr.tcp.source;
    destination_port = hdr.tcp.destination;
}
if (classified == 1) {
    source = IPV4_IN_IPV6 ++ hdr.ipv4.source;
    protocol = hdr.ipv4.protocol;
    flow_label = 0;
    if (hdr.ipv6.isValid()) {
        source = hdr.ipv6.source;
        protocol = hdr.ipv6.next_header;
        flow_label = hdr.ipv6.flow_label;
    }
    dscp = traffic_class[7:2];
    application = 0;
    if (hdr.midflight.isValid()) {
        application = hdr.midflight.application;
    }
    classes.apply();
}
flow = hdr.ipv4.source ^ %(fold)d;
if (hdr.ipv6.isValid()) {
    flow = hdr.ipv6.source[127:96] ^ hdr.ipv6.source[95:64] ^ hdr.ipv6.source[63:32] ^ hdr.ipv6.source[31:0];
}
flow = (flow ^ (source_port ++ destination_port)) * %(multiplier)d;  // whose highest bits depend on all of it
bucket = flow[31:%(lowest)d];

// To the instance that a kernel has chosen, or to that of the bucket.
contact = 0;
room = 0;
if (meta.instance == 0) {
    buckets.apply();
} else {
    instances.apply();
}
if (!meta.steered) {
    unsteered.count(NO_INSTANCE);
} else if (room == 0) {
    leave();
} else {
    length = hdr.ipv4.length;
    if (hdr.ipv6.isValid()) {
        length = hdr.ipv6.length + 40;
    }
    if (length <= room) {
        leave();
        if (room == %(room)d) {
            enclose_ipv4();
        } else {
            enclose_ipv6();
        }
    } else {
        unsteered.count(TOO_LONG);
        if (!hdr.udp.isValid() && !hdr.tcp.isValid()) {
            mark_to_drop(standard_metadata);
        } else if (hdr.ipv4.isValid()) {
            refuse_ipv4();
        } else {
            refuse_ipv6();
        }
    }
}
"""

CHECKSUMS = """
// Restored requests have no outer headers.
update_checksum(hdr.inner_ipv4.isValid() && !hdr.udp.isValid(),
    {
        hdr.inner_ipv4.version, hdr.inner_ipv4.ihl, hdr.inner_ipv4.tos, hdr.inner_ipv4.length,
        hdr.inner_ipv4.identification, hdr.inner_ipv4.reserved, hdr.inner_ipv4.dont_fragment,
        hdr.inner_ipv4.more_fragments, hdr.inner_ipv4.fragment_offset, hdr.inner_ipv4.ttl, hdr.inner_ipv4.protocol,
        hdr.inner_ipv4.source, hdr.inner_ipv4.destination
    },
    hdr.inner_ipv4.checksum, HashAlgorithm.csum16);
update_checksum(hdr.icmp.isValid() && hdr.ipv4.isValid(),
    { hdr.icmp.kind, hdr.icmp.code, hdr.icmp.mtu, hdr.ipv4, hdr.udp, hdr.tcp },
    hdr.icmp.checksum, HashAlgorithm.csum16);
update_checksum(hdr.icmp.isValid() && hdr.ipv6.isValid(),
    {
        hdr.outer_ipv6.source, hdr.outer_ipv6.destination, hdr.outer_ipv6.length, (bit<16>)PROTOCOL_ICMPV6,
        hdr.icmp.kind, hdr.icmp.code, hdr.icmp.mtu, hdr.ipv6, hdr.udp, hdr.tcp
    },
    hdr.icmp.checksum, HashAlgorithm.csum16);
"""

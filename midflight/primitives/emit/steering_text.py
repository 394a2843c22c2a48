"""The P4 text of compute-aware forwarding, in which `%(name)d` stands for a number of the program's `Steering`."""

from __future__ import annotations

from midflight.primitives.steering import TUNNEL_PORT

__all__ = ["ACTIONS", "APPLY", "CHECKSUMS", "CONSTANTS", "HEADERS", "METADATA", "PARSER"]

CONSTANTS = f"""
const bit<8> PROTOCOL_ICMP = 1;
const bit<8> PROTOCOL_TCP = 6;
const bit<8> PROTOCOL_ICMPV6 = 58;
const bit<16> TUNNEL_PORT = {TUNNEL_PORT};     // IP in UDP between forwarders

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
state parse_udp {
    transition select(packet.lookahead<bit<32>>()[15:0]) {
        TUNNEL_PORT: parse_tunnel;
        default: parse_datagram;
    }
}

state parse_tunnel {
    packet.extract(hdr.tunnel);
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
bit<16> instance;  // the number of the instance that serves the request (CSCI-ID), or 0
bool attached;     // the instance is behind this port, at this address:
bit<9> port;
bit<48> mac;
"""

ACTIONS = """
// Requests and packets between forwarders that are not steered.
counter(4, CounterType.packets) unsteered;
// What each instance is sent from here.
direct_counter(CounterType.packets_and_bytes) requests;

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
bit<16> room;
bit<8> traffic_class;
bit<8> congestion;
bit<1> over_ipv6;
bit<128> forwarder;
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

action instance_is(bit<16> number) {
    meta.instance = number;
}

// Who serves the flows of a bucket. The controller changes as few buckets as it can, so that flows stay.
table buckets {
    key = {
        pool: exact @name("pool");
        bucket: exact @name("bucket");
    }
    actions = {
        instance_is;
        NoAction;
    }
    const default_action = NoAction();
    size = %(entries)d;
}

action to_contact(bit<1> ipv6, bit<128> ingress_address, bit<128> contact_address) {
    requests.count();
    over_ipv6 = ipv6;
    forwarder = ingress_address;
    contact = contact_address;
}

action to_attached(bit<9> port, bit<48> mac) {
    requests.count();
    meta.attached = true;
    meta.port = port;
    meta.mac = mac;
}

// Where the instances are: behind a port of this switch, or behind another forwarder, which has the contact address.
table instances {
    key = {
        meta.instance: exact @name("instance");
    }
    actions = {
        to_contact;
        to_attached;
        NoAction;
    }
    const default_action = NoAction();
    counters = requests;
    size = %(instances)d;
}

// The packet becomes the inner one, with a hop less. Its checksum changes with the hops (RFC 1624, equation 3).
action hold_ipv4() {
    bit<17> sum = (bit<17>)(~hdr.ipv4.checksum) + 0xFEFF;
    hdr.inner_ipv4 = hdr.ipv4;
    hdr.inner_ipv4.ttl = hdr.ipv4.ttl - 1;
    hdr.inner_ipv4.checksum = ~(sum[15:0] + (bit<16>)sum[16:16]);
    hdr.ipv4.setInvalid();
}

action hold_ipv6() {
    hdr.inner_ipv6 = hdr.ipv6;
    hdr.inner_ipv6.hop_limit = hdr.ipv6.hop_limit - 1;
    hdr.ipv6.setInvalid();
}

// IP in UDP without a checksum, from a port by which routers tell flows apart.
action enclose_ipv4() {
    hdr.ethernet.ether_type = ETHERTYPE_IPV4;
    hdr.ipv4 = {
        version = 4, ihl = 5, tos = traffic_class, length = length + 28, identification = 0, reserved = 0,
        dont_fragment = 1, more_fragments = 0, fragment_offset = 0, ttl = 64, protocol = PROTOCOL_UDP, checksum = 0,
        source = forwarder[31:0], destination = contact[31:0]
    };
    hdr.tunnel = {
        source = 0xC000 | (bit<16>)(flow >> 18), destination = TUNNEL_PORT, length = length + 8, checksum = 0
    };
}

action enclose_ipv6() {
    hdr.ethernet.ether_type = ETHERTYPE_IPV6;
    hdr.ipv6 = {
        version = 6, traffic_class = traffic_class, flow_label = flow[31:12], length = length + 8,
        next_header = PROTOCOL_UDP, hop_limit = 64, source = forwarder, destination = contact
    };
    hdr.tunnel = {
        source = 0xC000 | (bit<16>)(flow >> 18), destination = TUNNEL_PORT, length = length + 8, checksum = 0
    };
}

// A request that does not fit goes back as an error, which quotes its first bytes and says what does fit.
action refuse() {
    meta.attached = true;
    meta.port = standard_metadata.ingress_port;
    meta.mac = hdr.ethernet.source;
}

action refuse_ipv4() {
    refuse();
    hdr.inner_ipv4 = hdr.ipv4;
    hdr.icmp = { kind = 3, code = 4, checksum = 0, mtu = (bit<32>)room };
    hdr.ipv4 = {
        version = 4, ihl = 5, tos = 0, length = 56, identification = 0, reserved = 0, dont_fragment = 0,
        more_fragments = 0, fragment_offset = 0, ttl = 64, protocol = PROTOCOL_ICMP, checksum = 0,
        source = hdr.inner_ipv4.destination, destination = hdr.inner_ipv4.source
    };
    truncate(14 + 56);
}

action refuse_ipv6() {
    refuse();
    hdr.inner_ipv6 = hdr.ipv6;
    hdr.icmp = { kind = 2, code = 0, checksum = 0, mtu = (bit<32>)room };
    hdr.ipv6 = {
        version = 6, traffic_class = 0, flow_label = 0, length = 56, next_header = PROTOCOL_ICMPV6, hop_limit = 64,
        source = hdr.inner_ipv6.destination, destination = hdr.inner_ipv6.source
    };
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

action to_instance(bit<9> port, bit<48> mac) {
    meta.attached = true;
    meta.port = port;
    meta.mac = mac;
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

action open_ipv4() {
    hdr.ethernet.ether_type = ETHERTYPE_IPV4;
    hdr.ipv4 = hdr.inner_ipv4;
    hdr.ipv4.tos = hdr.inner_ipv4.tos | congestion;
    hdr.ipv6.setInvalid();
    hdr.inner_ipv4.setInvalid();
    hdr.tunnel.setInvalid();
}

action open_ipv6() {
    hdr.ethernet.ether_type = ETHERTYPE_IPV6;
    hdr.ipv6 = hdr.inner_ipv6;
    hdr.ipv6.traffic_class = hdr.inner_ipv6.traffic_class | congestion;
    hdr.ipv4.setInvalid();
    hdr.inner_ipv6.setInvalid();
    hdr.tunnel.setInvalid();
}
"""

APPLY = """
if (!(hdr.ipv4.isValid() && hdr.ipv4.ihl == 5 && hdr.ipv4.ttl > 1)
        && !(hdr.ipv6.isValid() && hdr.ipv6.hop_limit > 1)) {
    return;  // there is no way for it, steered or not
}
destination = IPV4_IN_IPV6 ++ hdr.ipv4.destination;
traffic_class = hdr.ipv4.tos;
if (hdr.ipv6.isValid()) {
    destination = hdr.ipv6.destination;
    traffic_class = hdr.ipv6.traffic_class;
}
if (hdr.tunnel.isValid()) {
    if (!trunks.apply().hit) {
        unsteered.count(NOT_A_TRUNK);
        meta.verdict = DROP;
    } else if (contacts.apply().hit) {
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
            meta.verdict = DROP;
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
if (meta.instance == 0) {
    buckets.apply();
}
over_ipv6 = 0;
forwarder = 0;
contact = 0;
if (!instances.apply().hit) {
    unsteered.count(NO_INSTANCE);
} else if (!meta.attached) {
    length = hdr.ipv4.length;
    if (hdr.ipv6.isValid()) {
        length = hdr.ipv6.length + 40;
    }
    room = %(room)d;
    if (over_ipv6 == 1) {
        room = %(room_ipv6)d;
    }
    if (length > room) {
        unsteered.count(TOO_LONG);
        if (!hdr.udp.isValid() && !hdr.tcp.isValid()) {
            meta.verdict = DROP;
        } else if (hdr.ipv4.isValid()) {
            refuse_ipv4();
        } else {
            refuse_ipv6();
        }
        return;
    }
    if (hdr.ipv4.isValid()) {
        hold_ipv4();
    } else {
        hold_ipv6();
    }
    if (over_ipv6 == 1) {
        enclose_ipv6();
    } else {
        enclose_ipv4();
    }
}
"""

CHECKSUMS = """
update_checksum(hdr.icmp.isValid() && hdr.inner_ipv4.isValid(),
    { hdr.icmp.kind, hdr.icmp.code, hdr.icmp.mtu, hdr.inner_ipv4, hdr.udp, hdr.tcp },
    hdr.icmp.checksum, HashAlgorithm.csum16);
update_checksum(hdr.icmp.isValid() && hdr.inner_ipv6.isValid(),
    {
        hdr.ipv6.source, hdr.ipv6.destination, hdr.ipv6.length, (bit<16>)PROTOCOL_ICMPV6,
        hdr.icmp.kind, hdr.icmp.code, hdr.icmp.mtu, hdr.inner_ipv6, hdr.udp, hdr.tcp
    },
    hdr.icmp.checksum, HashAlgorithm.csum16);
"""

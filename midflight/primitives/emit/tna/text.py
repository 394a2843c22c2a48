"""The P4 text that all programs for Tofino's architectures share: constants, parsers, forwarding and egress."""

from __future__ import annotations

__all__ = [
    "BRIDGE",
    "CONSTANTS",
    "EGRESS",
    "EGRESS_PARSER",
    "FORWARDING",
    "MALFORMED",
    "METADATA",
    "PARSER",
    "START",
]

CONSTANTS = """
const bit<16> ETHERTYPE_IPV4 = 0x0800;
const bit<16> ETHERTYPE_IPV6 = 0x86DD;
const bit<8> PROTOCOL_UDP = 17;
const bit<96> IPV4_IN_IPV6 = 0x0064_FF9B_0001_0000_0000_0000;  // 64:ff9b:1::/96, of RFC 8215
const bit<16> MIDFLIGHT_PORT = 19782;  // 0x4D46, "MF"
const bit<8> VERSION = 2;
const bit<8> REQUEST = 1;              // to be computed on
const bit<8> RESULT = 2;               // only forwarded
const bit<8> RESULT_FOR_ALL = 3;       // from the switch above: goes to all members
const bit<8> RED = 3;                  // a meter's color for what exceeds its rate

// Why a request is not computed on: the indexes of `refused`.
const bit<2> NOT_ADMITTED = 0;         // no application like that is admitted on the port
const bit<2> WRONG_TOKEN = 1;          // its token is not the application's
const bit<2> NO_MEMBER = 2;            // no member sends by that port, from that address, with that number
const bit<2> TOO_FAST = 3;             // it exceeds the application's rate on the port
const bit<8> BRIDGED = 1;              // the first byte of what comes from ingress to egress
"""

BRIDGE = """
// What ingress tells egress about a packet, in front of it.
header bridge_t {
    bit<8> origin;
    bit<8> verdict;
    bit<7> reserved;
    bit<9> ingress_port;
}
"""

METADATA = """
bool malformed;       // cut short, or of another version
bool checksum_error;  // of the IPv4 header
bool admitted;        // the packet is computed on here
bool refused;         // it is not, for `reason`
bit<2> reason;
bool unroutable;      // there is no way for it
bit<8> colour;        // of its rate
bit<16> group;        // the multicast group of its members
bit<16> epoch;        // the life that the switch's state is in
bit<64> token;        // its token XOR what it should be
bit<1> bound;         // whether only members may send them
bit<128> sender;      // the address that the packet comes from
bit<16> member;       // the number of the member that it names
bit<16> job;          // the number of its job
bool summed;          // its UDP header has a checksum
bit<16> rest;         // of the UDP checksum: what it is without what may change
"""

START = """
state start {
    packet.extract(ig_intr_md);
    packet.advance(PORT_METADATA_SIZE);
    meta.malformed = false;
    meta.checksum_error = false;
    meta.admitted = false;
    meta.refused = false;
    meta.reason = NOT_ADMITTED;
    meta.unroutable = false;
    meta.member = 0;
    meta.job = 0;
    meta.summed = false;
    meta.rest = 0;
"""

PARSER = """
    state parse_packet_out {
        packet.extract(hdr.packet_out);
        transition parse_ethernet;
    }

    state parse_ethernet {
        packet.extract(hdr.ethernet);
        transition select(hdr.ethernet.ether_type) {
            ETHERTYPE_IPV4: parse_ipv4;
            ETHERTYPE_IPV6: parse_ipv6;
            default: accept;
        }
    }

    // Packets with options and fragments are not computed on: what follows is not, or not surely, a UDP header.
    state parse_ipv4 {
        packet.extract(hdr.ipv4);
        ipv4_checksum.add(hdr.ipv4);
        meta.checksum_error = ipv4_checksum.verify();
        udp_checksum.subtract({ hdr.ipv4.source, hdr.ipv4.destination });
        transition select(hdr.ipv4.ihl, hdr.ipv4.more_fragments, hdr.ipv4.fragment_offset, hdr.ipv4.protocol) {
            (5, 0, 0, PROTOCOL_UDP): parse_udp;
            default: accept;
        }
    }

    // Nor are those with extension headers.
    state parse_ipv6 {
        packet.extract(hdr.ipv6);
        udp_checksum.subtract({ hdr.ipv6.source, hdr.ipv6.destination });
        transition select(hdr.ipv6.version, hdr.ipv6.next_header) {
            (6, PROTOCOL_UDP): parse_udp;
            (6, _): accept;
            default: parse_malformed;
        }
    }

    state parse_malformed {
        meta.malformed = true;
        transition accept;
    }

    // A UDP checksum is updated by what changes. What stays, such as the payload, is not summed up again.
    state parse_udp {
        packet.extract(hdr.udp);
        udp_checksum.subtract({ hdr.udp.source, hdr.udp.destination, hdr.udp.checksum });
        udp_checksum.subtract_all_and_deposit(meta.rest);
        transition select(hdr.udp.destination) {
            MIDFLIGHT_PORT: parse_midflight;
            default: accept;
        }
    }
"""

MALFORMED = """ig_prsr_md.parser_err != PARSER_ERROR_OK || meta.malformed
        || (meta.checksum_error && hdr.ipv4.ihl == 5)
        || (hdr.midflight.isValid() && hdr.midflight.version != VERSION)"""

FORWARDING = """
// Malformed packets are counted and dropped: cut short, of another version, or with a wrong checksum.
Counter<bit<32>, bit<1>>(1, CounterType_t.PACKETS) malformed;
// Packets for which there is no way.
Counter<bit<32>, bit<1>>(1, CounterType_t.PACKETS) unroutable;

action drop() {
    ig_dprsr_md.drop_ctl = 1;
}

action unreachable() {
    meta.unroutable = true;
    ig_dprsr_md.drop_ctl = 1;
}

// Of the two IP headers a packet has one. They share containers, so an action writes only one of them.
action to_port(PortId_t port, bit<48> mac) {
    ig_tm_md.ucast_egress_port = port;
    hdr.ethernet.source = hdr.ethernet.destination;
    hdr.ethernet.destination = mac;
    hdr.ipv4.ttl = hdr.ipv4.ttl - 1;
}

action to_port_ipv6(PortId_t port, bit<48> mac) {
    ig_tm_md.ucast_egress_port = port;
    hdr.ethernet.source = hdr.ethernet.destination;
    hdr.ethernet.destination = mac;
    hdr.ipv6.hop_limit = hdr.ipv6.hop_limit - 1;
}

table route {
    key = {
        hdr.ipv4.destination: lpm;
    }
    actions = {
        to_port;
        unreachable;
    }
    default_action = unreachable();
    size = 4096;
}

table route_ipv6 {
    key = {
        hdr.ipv6.destination: lpm;
    }
    actions = {
        to_port_ipv6;
        unreachable;
    }
    default_action = unreachable();
    size = 4096;
}

// What is computed on, by application and port.
DirectCounter<bit<64>>(CounterType_t.PACKETS_AND_BYTES) admitted;
// How much of it: what comes faster passes by.
DirectMeter(MeterType_t.PACKETS) admitted_rate;

action admit(bit<16> group, bit<16> epoch, bit<64> token, bit<1> bound) {
    meta.group = group;
    meta.epoch = epoch;
    meta.token = hdr.midflight.token ^ token;
    meta.bound = bound;
    admitted.count();
    meta.colour = admitted_rate.execute();
}

action refuse() {
    meta.refused = true;
}

// The applications that compute here, and the ports that their requests come by: the multicast group of their members,
// the epoch, which the controller raises when the switch has lost its state, and the token that their packets carry.
// With `bound`, only what is in `membership` is computed on. Other requests are forwarded.
table admission {
    key = {
        hdr.midflight.application: exact;
        ig_intr_md.ingress_port: ternary;
    }
    actions = {
        admit;
        @defaultonly refuse;
    }
    const default_action = refuse();
    counters = admitted;
    meters = admitted_rate;
    size = 4096;
}

action no_member() {
    meta.refused = true;
    meta.reason = NO_MEMBER;
    meta.admitted = false;
}

// Who sends what by which port: the member's address, and the numbers of member and job that its requests carry.
table membership {
    key = {
        hdr.midflight.application: exact;
        hdr.midflight.kind: exact;
        ig_intr_md.ingress_port: exact;
        meta.sender: exact;
        meta.member: exact;
        meta.job: exact;
    }
    actions = {
        NoAction;
        @defaultonly no_member;
    }
    const default_action = no_member();
    size = 4096;
}

// Requests that are not computed on, but forwarded.
Counter<bit<32>, bit<2>>(4, CounterType_t.PACKETS) refused;

// Turn the packet around: what is its destination becomes its source.
action reply() {
    bit<48> mac = hdr.ethernet.source;
    bit<16> udp_port = hdr.udp.source;
    hdr.ethernet.source = hdr.ethernet.destination;
    hdr.ethernet.destination = mac;
    hdr.udp.source = hdr.udp.destination;
    hdr.udp.destination = udp_port;
    hdr.midflight.kind = RESULT;
    ig_tm_md.ucast_egress_port = ig_intr_md.ingress_port;
}

action reply_ipv4() {
    bit<32> address = hdr.ipv4.source;
    hdr.ipv4.source = hdr.ipv4.destination;
    hdr.ipv4.destination = address;
    hdr.ipv4.ttl = 64;
}

action reply_ipv6() {
    bit<128> address = hdr.ipv6.source;
    hdr.ipv6.source = hdr.ipv6.destination;
    hdr.ipv6.destination = address;
    hdr.ipv6.hop_limit = 64;
}

// The copies get their destinations in egress. They come from the address that the request was sent to.
action multicast() {
    hdr.ethernet.source = hdr.ethernet.destination;
    hdr.udp.source = MIDFLIGHT_PORT;
    hdr.midflight.kind = RESULT;
    ig_tm_md.mcast_grp_a = meta.group;
}

action multicast_ipv4() {
    hdr.ipv4.source = hdr.ipv4.destination;
    hdr.ipv4.ttl = 64;
}

action multicast_ipv6() {
    hdr.ipv6.source = hdr.ipv6.destination;
    hdr.ipv6.hop_limit = 64;
}
"""

EGRESS_PARSER = """
    state parse_ethernet {
        packet.extract(hdr.ethernet);
        transition select(hdr.ethernet.ether_type) {
            ETHERTYPE_IPV4: parse_ipv4;
            ETHERTYPE_IPV6: parse_ipv6;
            default: accept;
        }
    }

    state parse_ipv4 {
        packet.extract(hdr.ipv4);
        udp_checksum.subtract({ hdr.ipv4.source, hdr.ipv4.destination });
        transition select(hdr.ipv4.ihl, hdr.ipv4.more_fragments, hdr.ipv4.fragment_offset, hdr.ipv4.protocol) {
            (5, 0, 0, PROTOCOL_UDP): parse_udp;
            default: accept;
        }
    }

    state parse_ipv6 {
        packet.extract(hdr.ipv6);
        udp_checksum.subtract({ hdr.ipv6.source, hdr.ipv6.destination });
        transition select(hdr.ipv6.next_header) {
            PROTOCOL_UDP: parse_udp;
            default: accept;
        }
    }

    state parse_udp {
        packet.extract(hdr.udp);
        udp_checksum.subtract({ hdr.udp.source, hdr.udp.destination, hdr.udp.checksum });
        udp_checksum.subtract_all_and_deposit(meta.rest);
        transition select(hdr.udp.source, hdr.udp.destination) {
            (MIDFLIGHT_PORT, _): parse_midflight;
            (_, MIDFLIGHT_PORT): parse_midflight;
            default: accept;
        }
    }
"""

EGRESS = """
    action to_host(bit<48> mac, bit<32> address, bit<16> udp_port) {
        hdr.ethernet.destination = mac;
        meta.address = address;
        hdr.udp.destination = udp_port;
        hdr.midflight.kind = RESULT;
    }

    action to_host_ipv6(bit<48> mac, bit<128> address, bit<16> udp_port) {
        hdr.ethernet.destination = mac;
        meta.address_ipv6 = address;
        hdr.udp.destination = udp_port;
        hdr.midflight.kind = RESULT;
    }

    // A switch below has members of its own.
    action to_switch(bit<48> mac) {
        hdr.ethernet.destination = mac;
        hdr.midflight.kind = RESULT_FOR_ALL;
    }

    // Who listens to an application's results behind which port.
    table deliver {
        key = {
            hdr.midflight.application: exact;
            eg_intr_md.egress_port: exact;
        }
        actions = {
            to_host;
            to_host_ipv6;
            to_switch;
            NoAction;
        }
        default_action = NoAction();
        size = 1024;
    }

    // Members get copies as they were admitted, by IPv4 or IPv6, whichever of them brought the request. An IPv6 address
    // stands for the IPv4 address at its end (RFC 6052). An action writes constants, or moves one field: fields of a
    // header may share a container, for which an action has only two sources.
    action to_ipv4() {
        hdr.ethernet.ether_type = ETHERTYPE_IPV4;
        hdr.ipv4.setValid();
        hdr.ipv4.version = 4;
        hdr.ipv4.ihl = 5;
        hdr.ipv4.identification = 0;
        hdr.ipv4.reserved = 0;
        hdr.ipv4.dont_fragment = 1;
        hdr.ipv4.more_fragments = 0;
        hdr.ipv4.fragment_offset = 0;
        hdr.ipv4.ttl = 64;
        hdr.ipv4.protocol = PROTOCOL_UDP;
    }

    action move_to_tos() {
        hdr.ipv4.tos = hdr.ipv6.traffic_class;
    }

    action move_to_ipv4_source() {
        hdr.ipv4.source = hdr.ipv6.source[31:0];
    }

    action move_to_ipv4_length() {
        hdr.ipv4.length = hdr.udp.length;
    }

    action add_ipv4_header() {
        hdr.ipv4.length = hdr.ipv4.length + 20;
    }

    action remove_ipv6() {
        hdr.ipv6.setInvalid();
    }

    action to_ipv6() {
        hdr.ethernet.ether_type = ETHERTYPE_IPV6;
        hdr.ipv6.setValid();
        hdr.ipv6.version = 6;
        hdr.ipv6.flow_label = 0;
        hdr.ipv6.next_header = PROTOCOL_UDP;
        hdr.ipv6.hop_limit = 64;
        hdr.ipv6.source[127:32] = IPV4_IN_IPV6;
    }

    action move_to_traffic_class() {
        hdr.ipv6.traffic_class = hdr.ipv4.tos;
    }

    action move_to_ipv6_source() {
        hdr.ipv6.source[31:0] = hdr.ipv4.source;
    }

    action move_to_ipv6_length() {
        hdr.ipv6.length = hdr.udp.length;
    }

    action remove_ipv4() {
        hdr.ipv4.setInvalid();
    }

    apply {
        if (hdr.udp.isValid() && hdr.udp.checksum != 0) {
            meta.summed = true;
        }
        if (meta.verdict == MULTICAST) {
            switch (deliver.apply().action_run) {
                to_host: {
                    if (hdr.ipv6.isValid()) {
                        to_ipv4();
                        move_to_tos();
                        move_to_ipv4_source();
                        move_to_ipv4_length();
                        add_ipv4_header();
                        remove_ipv6();
                    }
                    hdr.ipv4.destination = meta.address;
                }
                to_host_ipv6: {
                    if (hdr.ipv4.isValid()) {
                        to_ipv6();
                        move_to_traffic_class();
                        move_to_ipv6_source();
                        move_to_ipv6_length();
                        remove_ipv4();
                    }
                    hdr.ipv6.destination = meta.address_ipv6;
                }
            }
        }
        if (eg_intr_md.egress_port == CPU_PORT) {
            hdr.packet_in.setValid();
            hdr.packet_in.ingress_port = (bit<16>)meta.ingress_port;
        }
    }
"""

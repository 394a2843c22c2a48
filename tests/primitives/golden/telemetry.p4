// Path on one switch: P4_16 for the v1model architecture.
// Written by Midflight from kernels in Python. Change those and compile again, rather than this file.

#include <core.p4>
#include <v1model.p4>

const bit<9> CPU_PORT = 510;           // packets from and to the controller
const bit<16> ETHERTYPE_IPV4 = 0x0800;
const bit<16> ETHERTYPE_IPV6 = 0x86DD;
const bit<8> PROTOCOL_UDP = 17;
const bit<96> IPV4_IN_IPV6 = 0x0064_FF9B_0001_0000_0000_0000;  // 64:ff9b:1::/96, of RFC 8215
const bit<16> MIDFLIGHT_PORT = 19782;  // 0x4D46, "MF"
const bit<8> VERSION = 2;
const bit<8> REQUEST = 1;              // to be computed on
const bit<8> RESULT = 2;               // only forwarded
const bit<8> RESULT_FOR_ALL = 3;       // from the switch above: goes to all members
const bit<2> RED = 2;                  // a meter's colour for what exceeds its rate

// Why a request is not computed on: the indexes of `refused`.
const bit<32> NOT_ADMITTED = 0;        // no application like that is admitted on the port
const bit<32> WRONG_TOKEN = 1;         // its token is not the application's
const bit<32> NO_MEMBER = 2;           // no member sends by that port, from that address, with that number
const bit<32> TOO_FAST = 3;            // it exceeds the application's rate on the port

// The applications' ids in the common header.
const bit<16> PATH_ID = 1;

// What a kernel decides about its packet. The ingress control acts on it afterwards.
const bit<2> FORWARD = 0;
const bit<2> DROP = 1;
const bit<2> REPLY = 2;      // back to the sender, as a result
const bit<2> MULTICAST = 3;  // to all members of the application, as a result

header ethernet_t {
    bit<48> destination;
    bit<48> source;
    bit<16> ether_type;
}

header ipv4_t {
    bit<4> version;
    bit<4> ihl;
    bit<8> tos;
    bit<16> length;
    bit<16> identification;
    bit<1> reserved;
    bit<1> dont_fragment;
    bit<1> more_fragments;
    bit<13> fragment_offset;
    bit<8> ttl;
    bit<8> protocol;
    bit<16> checksum;
    bit<32> source;
    bit<32> destination;
}

header ipv6_t {
    bit<4> version;
    bit<8> traffic_class;
    bit<20> flow_label;
    bit<16> length;  // of what follows
    bit<8> next_header;
    bit<8> hop_limit;
    bit<128> source;
    bit<128> destination;
}

header udp_t {
    bit<16> source;
    bit<16> destination;
    bit<16> length;
    bit<16> checksum;
}

// Common to all applications. Says which one's header follows.
header midflight_t {
    bit<8> version;
    bit<8> kind;
    bit<16> application;
    bit<32> sequence;
    bit<64> token;  // known to the application's members and switches only
}

// In front of a packet that the switch hands to the controller.
@controller_header("packet_in")
header packet_in_t {
    bit<16> ingress_port;
}

// In front of a packet that the controller has the switch send.
@controller_header("packet_out")
header packet_out_t {
    bit<16> egress_port;
}

// What path sends. Telemetry: Record the path of each packet in it: every switch stamps its number, ports, queue depth,
// delay and times.
header path_t {
    bit<8> count;
    bit<32> switch_0;
    bit<32> switch_1;
    bit<16> inlet_0;
    bit<16> inlet_1;
    bit<16> outlet_0;
    bit<16> outlet_1;
    bit<32> depth_0;
    bit<32> depth_1;
    bit<32> delay_0;
    bit<32> delay_1;
    bit<48> arrival_0;
    bit<48> arrival_1;
    bit<48> departure_0;
    bit<48> departure_1;
}

struct headers_t {
    packet_in_t packet_in;
    packet_out_t packet_out;
    ethernet_t ethernet;
    ipv4_t ipv4;
    ipv6_t ipv6;
    udp_t udp;
    midflight_t midflight;
    path_t path;
}

struct metadata_t {
    bool admitted;   // the packet is computed on here
    bit<2> colour;   // of its rate
    bit<16> group;   // the multicast group of its members
    bit<16> epoch;   // the life that the switch's state is in
    bit<64> token;   // what its packets carry
    bit<1> bound;   // whether only members may send them
    bit<128> sender;  // the address that the packet comes from
    bit<16> member;  // the number of the member that it names
    bit<16> job;     // the number of its job
    bit<128> address;  // of the member that a copy is for
    bit<16> remainder;  // of the UDP checksum of a whole IPv6 packet: none
    bit<2> verdict;  // what the kernel decided
}

parser parse(packet_in packet, out headers_t hdr, inout metadata_t meta,
             inout standard_metadata_t standard_metadata) {
    state start {
        transition select(standard_metadata.ingress_port) {
            CPU_PORT: parse_packet_out;
            default: parse_ethernet;
        }
    }

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
        transition select(hdr.ipv4.ihl, hdr.ipv4.more_fragments, hdr.ipv4.fragment_offset, hdr.ipv4.protocol) {
            (5, 0, 0, PROTOCOL_UDP): parse_udp;
            default: accept;
        }
    }

    // Nor are those with extension headers.
    state parse_ipv6 {
        packet.extract(hdr.ipv6);
        verify(hdr.ipv6.version == 6, error.ParserInvalidArgument);
        transition select(hdr.ipv6.next_header) {
            PROTOCOL_UDP: parse_udp;
            default: accept;
        }
    }

    state parse_udp {
        packet.extract(hdr.udp);
        transition select(hdr.udp.destination) {
            MIDFLIGHT_PORT: parse_midflight;
            default: accept;
        }
    }

    state parse_midflight {
        packet.extract(hdr.midflight);
        transition select(hdr.midflight.version, hdr.midflight.kind, hdr.midflight.application) {
            (VERSION, REQUEST, PATH_ID): parse_path;
            default: accept;
        }
    }

    state parse_path {
        packet.extract(hdr.path);
        transition accept;
    }
}

control verify_checksums(inout headers_t hdr, inout metadata_t meta) {
    apply {
        verify_checksum(hdr.ipv4.isValid() && hdr.ipv4.ihl == 5,
            {
                hdr.ipv4.version, hdr.ipv4.ihl, hdr.ipv4.tos, hdr.ipv4.length, hdr.ipv4.identification,
                hdr.ipv4.reserved, hdr.ipv4.dont_fragment, hdr.ipv4.more_fragments, hdr.ipv4.fragment_offset,
                hdr.ipv4.ttl, hdr.ipv4.protocol, hdr.ipv4.source, hdr.ipv4.destination
            },
            hdr.ipv4.checksum, HashAlgorithm.csum16);
        // With the checksum among them, the words of a packet add up to all ones.
        verify_checksum_with_payload(hdr.ipv6.isValid() && hdr.midflight.isValid(),
            {
                hdr.ipv6.source, hdr.ipv6.destination, hdr.udp.length, (bit<16>)PROTOCOL_UDP, hdr.udp,
                hdr.midflight, hdr.path
            },
            meta.remainder, HashAlgorithm.csum16);
    }
}

// The kernel of path: Telemetry.ingress in telemetry.py, with hops=2, metadata=True.
// Record the path of each packet in it: every switch stamps its number, ports, queue depth, delay and times.
control path_kernel(inout headers_t hdr, inout metadata_t meta) {
    bit<32> number;
    bit<8> identity_key;

    action identity_is(bit<32> found) {
        number = found;
    }

    table identity {
        key = {
            identity_key: exact @name("key");
        }
        actions = {
            identity_is;
            NoAction;
        }
        const default_action = NoAction();
        size = 1;
    }

    apply {
        // number = self.identity.get(bit[8](0), 0)
        identity_key = 0;
        number = 0;
        identity.apply();
        // hop 0
        if (hdr.path.count == 0) {
            hdr.path.switch_0 = number;
        }
        // hop 1
        if (hdr.path.count == 1) {
            hdr.path.switch_1 = number;
        }
        hdr.path.count = hdr.path.count |+| 1;
        meta.verdict = FORWARD;
    }
}

control ingress(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t standard_metadata) {
    // Malformed packets are counted and dropped: cut short, of another version, or with a wrong checksum.
    counter(1, CounterType.packets) malformed;
    // Packets for which there is no way.
    counter(1, CounterType.packets) unroutable;

    action drop() {
        mark_to_drop(standard_metadata);
    }

    action unreachable() {
        unroutable.count(0);
        mark_to_drop(standard_metadata);
    }

    // Of the two IP headers a packet has one: what is done to the other is done to nothing.
    action to_port(bit<9> port, bit<48> mac) {
        standard_metadata.egress_spec = port;
        hdr.ethernet.source = hdr.ethernet.destination;
        hdr.ethernet.destination = mac;
        hdr.ipv4.ttl = hdr.ipv4.ttl - 1;
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
            to_port;
            unreachable;
        }
        default_action = unreachable();
        size = 4096;
    }

    // What is computed on, by application and port.
    direct_counter(CounterType.packets_and_bytes) admitted;
    // How much of it: what comes faster passes by.
    direct_meter<bit<2>>(MeterType.packets) admitted_rate;

    action admit(bit<16> group, bit<16> epoch, bit<64> token, bit<1> bound) {
        meta.group = group;
        meta.epoch = epoch;
        meta.token = token;
        meta.bound = bound;
        admitted.count();
        admitted_rate.read(meta.colour);
    }

    // The applications that compute here, and the ports that their requests come by: the multicast group of their members,
    // the epoch, which the controller raises when the switch has lost its state, and the token that their packets carry.
    // With `bound`, only what is in `membership` is computed on. Other requests are forwarded.
    table admission {
        key = {
            hdr.midflight.application: exact;
            standard_metadata.ingress_port: ternary;
        }
        actions = {
            admit;
            NoAction;
        }
        default_action = NoAction();
        counters = admitted;
        meters = admitted_rate;
        size = 4096;
    }

    // Who sends what by which port: the member's address, and the numbers of member and job that its requests carry.
    table membership {
        key = {
            hdr.midflight.application: exact;
            hdr.midflight.kind: exact;
            standard_metadata.ingress_port: exact;
            meta.sender: exact;
            meta.member: exact;
            meta.job: exact;
        }
        actions = {
            NoAction;
        }
        default_action = NoAction();
        size = 4096;
    }

    // Requests that are not computed on, but forwarded.
    counter(4, CounterType.packets) refused;

    // Turn the packet around: what is its destination becomes its source.
    action reply() {
        bit<48> mac = hdr.ethernet.source;
        bit<32> address = hdr.ipv4.source;
        bit<128> address_ipv6 = hdr.ipv6.source;
        bit<16> udp_port = hdr.udp.source;
        hdr.ethernet.source = hdr.ethernet.destination;
        hdr.ethernet.destination = mac;
        hdr.ipv4.source = hdr.ipv4.destination;
        hdr.ipv4.destination = address;
        hdr.ipv4.ttl = 64;
        hdr.ipv6.source = hdr.ipv6.destination;
        hdr.ipv6.destination = address_ipv6;
        hdr.ipv6.hop_limit = 64;
        hdr.udp.source = hdr.udp.destination;
        hdr.udp.destination = udp_port;
        hdr.midflight.kind = RESULT;
        standard_metadata.egress_spec = standard_metadata.ingress_port;
    }

    // The copies get their destinations in egress. They come from the address that the request was sent to.
    action multicast() {
        hdr.ethernet.source = hdr.ethernet.destination;
        hdr.ipv4.source = hdr.ipv4.destination;
        hdr.ipv4.ttl = 64;
        hdr.ipv6.source = hdr.ipv6.destination;
        hdr.ipv6.hop_limit = 64;
        hdr.udp.source = MIDFLIGHT_PORT;
        hdr.midflight.kind = RESULT;
        standard_metadata.mcast_grp = meta.group;
    }

    path_kernel() path;

    apply {
        meta.verdict = FORWARD;
        if (hdr.packet_out.isValid()) {
            // From the controller: sent as it is.
            standard_metadata.egress_spec = (bit<9>)hdr.packet_out.egress_port;
            hdr.packet_out.setInvalid();
            return;
        } else if (standard_metadata.parser_error != error.NoError
                || standard_metadata.checksum_error == 1
                || (hdr.midflight.isValid() && hdr.midflight.version != VERSION)) {
            malformed.count(0);
            drop();
            return;
        } else if (hdr.midflight.isValid() && (hdr.midflight.kind == REQUEST || hdr.midflight.kind == RESULT_FOR_ALL)) {
            if (!admission.apply().hit) {
                refused.count(NOT_ADMITTED);
            } else if (hdr.midflight.token != meta.token) {
                refused.count(WRONG_TOKEN);
            } else if (meta.colour == RED) {
                refused.count(TOO_FAST);
            } else {
                meta.admitted = true;
                if (meta.bound == 1) {
                    meta.sender = (bit<128>)hdr.ipv4.source;
                    if (hdr.ipv6.isValid()) {
                        meta.sender = hdr.ipv6.source;
                    }
                    if (!membership.apply().hit) {
                        refused.count(NO_MEMBER);
                        meta.admitted = false;
                    }
                }
            }
        }

        // Compute.
        if (meta.admitted) {
            hdr.udp.checksum = 0;  // none, as the payload may change; over IPv6 there is one in the end
            if (hdr.midflight.kind == RESULT_FOR_ALL) {
                meta.verdict = MULTICAST;
            } else if (hdr.path.isValid()) {
                path.apply(hdr, meta);
            }
        }

        // Act on the verdict.
        if (meta.verdict == DROP) {
            drop();
        } else if (meta.verdict == REPLY) {
            reply();
        } else if (meta.verdict == MULTICAST) {
            multicast();
        } else if (hdr.ipv4.isValid() && hdr.ipv4.ihl == 5 && hdr.ipv4.ttl > 1) {
            route.apply();
        } else if (hdr.ipv6.isValid() && hdr.ipv6.hop_limit > 1) {
            route_ipv6.apply();
        } else {
            unreachable();
        }
    }
}

control egress(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t standard_metadata) {
    action to_host(bit<48> mac, bit<32> address, bit<16> udp_port) {
        hdr.ethernet.destination = mac;
        meta.address = (bit<128>)address;
        hdr.udp.destination = udp_port;
        hdr.midflight.kind = RESULT;
    }

    action to_host_ipv6(bit<48> mac, bit<128> address, bit<16> udp_port) {
        hdr.ethernet.destination = mac;
        meta.address = address;
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
            standard_metadata.egress_port: exact;
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
    // stands for the IPv4 address at its end (RFC 6052).
    action to_ipv4() {
        hdr.ethernet.ether_type = ETHERTYPE_IPV4;
        hdr.ipv4 = {
            version = 4, ihl = 5, tos = hdr.ipv6.traffic_class, length = 20 + hdr.udp.length, identification = 0,
            reserved = 0, dont_fragment = 1, more_fragments = 0, fragment_offset = 0, ttl = 64, protocol = PROTOCOL_UDP,
            checksum = 0, source = hdr.ipv6.source[31:0], destination = 0
        };
        hdr.ipv6.setInvalid();
    }

    action to_ipv6() {
        hdr.ethernet.ether_type = ETHERTYPE_IPV6;
        hdr.ipv6 = {
            version = 6, traffic_class = hdr.ipv4.tos, flow_label = 0, length = hdr.udp.length,
            next_header = PROTOCOL_UDP, hop_limit = 64, source = IPV4_IN_IPV6 ++ hdr.ipv4.source, destination = 0
        };
        hdr.ipv4.setInvalid();
    }

    apply {
        if (meta.verdict == MULTICAST) {
            switch (deliver.apply().action_run) {
                to_host: {
                    if (hdr.ipv6.isValid()) {
                        to_ipv4();
                    }
                    hdr.ipv4.destination = (bit<32>)meta.address;
                }
                to_host_ipv6: {
                    if (hdr.ipv4.isValid()) {
                        to_ipv6();
                    }
                    hdr.ipv6.destination = meta.address;
                }
            }
        }
        // What is only known here, at the hop that ingress has counted.
        if (meta.admitted && hdr.path.isValid()) {
            if (hdr.path.count == 1) {
                hdr.path.inlet_0 = (bit<16>)standard_metadata.ingress_port;
                hdr.path.outlet_0 = (bit<16>)standard_metadata.egress_port;
                hdr.path.depth_0 = (bit<32>)standard_metadata.deq_qdepth;
                hdr.path.delay_0 = (bit<32>)standard_metadata.deq_timedelta;
                hdr.path.arrival_0 = (bit<48>)standard_metadata.ingress_global_timestamp;
                hdr.path.departure_0 = (bit<48>)standard_metadata.egress_global_timestamp;
            } else if (hdr.path.count == 2) {
                hdr.path.inlet_1 = (bit<16>)standard_metadata.ingress_port;
                hdr.path.outlet_1 = (bit<16>)standard_metadata.egress_port;
                hdr.path.depth_1 = (bit<32>)standard_metadata.deq_qdepth;
                hdr.path.delay_1 = (bit<32>)standard_metadata.deq_timedelta;
                hdr.path.arrival_1 = (bit<48>)standard_metadata.ingress_global_timestamp;
                hdr.path.departure_1 = (bit<48>)standard_metadata.egress_global_timestamp;
            }
        }
        if (standard_metadata.egress_port == CPU_PORT) {
            hdr.packet_in.setValid();
            hdr.packet_in.ingress_port = (bit<16>)standard_metadata.ingress_port;
        }
    }
}

control compute_checksums(inout headers_t hdr, inout metadata_t meta) {
    apply {
        update_checksum(hdr.ipv4.isValid(),
            {
                hdr.ipv4.version, hdr.ipv4.ihl, hdr.ipv4.tos, hdr.ipv4.length, hdr.ipv4.identification,
                hdr.ipv4.reserved, hdr.ipv4.dont_fragment, hdr.ipv4.more_fragments, hdr.ipv4.fragment_offset,
                hdr.ipv4.ttl, hdr.ipv4.protocol, hdr.ipv4.source, hdr.ipv4.destination
            },
            hdr.ipv4.checksum, HashAlgorithm.csum16);
        // Over IPv6 there must be one: what was computed on gets another. What would be 0 is all ones.
        update_checksum_with_payload(hdr.ipv6.isValid() && hdr.midflight.isValid() && hdr.udp.checksum == 0,
            {
                hdr.ipv6.source, hdr.ipv6.destination, hdr.udp.length, (bit<16>)PROTOCOL_UDP, hdr.udp,
                hdr.midflight, hdr.path
            },
            hdr.udp.checksum, HashAlgorithm.csum16);
        update_checksum(hdr.ipv6.isValid() && hdr.midflight.isValid() && hdr.udp.checksum == 0,
            { 16w0 }, hdr.udp.checksum, HashAlgorithm.csum16);
    }
}

control deparse(packet_out packet, in headers_t hdr) {
    apply {
        packet.emit(hdr.packet_in);
        packet.emit(hdr.ethernet);
        packet.emit(hdr.ipv4);
        packet.emit(hdr.ipv6);
        packet.emit(hdr.udp);
        packet.emit(hdr.midflight);
        packet.emit(hdr.path);
    }
}

V1Switch(parse(), verify_checksums(), ingress(), egress(), compute_checksums(), deparse()) main;

// Pool on one switch: P4_16 for the v1model architecture.
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
const bit<8> STATE = 16;               // from the controller: asks for state
const bit<8> STATE_DONE = 17;          // the answer
const bit<8> PROTOCOL_ICMP = 1;
const bit<8> PROTOCOL_TCP = 6;
const bit<8> PROTOCOL_ICMPV6 = 58;
const bit<16> TUNNEL_PORT = 19783;     // IP in UDP between forwarders

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

// The applications' ids in the common header.
const bit<16> POOL_ID = 1;

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

// A controller's request for an application's state, behind the common header. One element of each register follows:
// to be read, or to be written where `written` has the register's bit, bit 0 for the first.
header state_t {
    bit<32> written;
    bit<32> index;
}

// What pool sends. Balance: Write an instance into each request: that of its flow's bucket, or the less loaded one of
// two.
header pool_t {
    bit<8> operation;
    bit<16> instance;
    bit<16> load;
    bit<48> time;
    bit<64> flow;
}

// An element of each register of pool, for the controller.
header pool_state_t {
    bit<64> loads_0;
    bit<64> loads_1;
}

struct headers_t {
    packet_in_t packet_in;
    packet_out_t packet_out;
    ethernet_t ethernet;
    outer_ipv4_t outer_ipv4;
    ipv6_t outer_ipv6;
    outer_udp_t outer_udp;
    icmp_t icmp;
    ipv4_t ipv4;
    ipv6_t ipv6;
    udp_t udp;
    ipv4_t inner_ipv4;
    ipv6_t inner_ipv6;
    tcp_t tcp;
    midflight_t midflight;
    state_t state;
    pool_state_t pool_state;
    pool_t pool;
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
    bit<16> instance;  // the number of the instance that a kernel has chosen (CSCI-ID), or 0
    bool steered;      // it has been steered, and needs no route
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
        transition select(hdr.packet_out.egress_port) {
            (bit<16>)CPU_PORT: parse_state;
            default: parse_ethernet;
        }
    }

    state parse_state {
        packet.extract(hdr.midflight);
        packet.extract(hdr.state);
        transition select(hdr.midflight.version, hdr.midflight.kind, hdr.midflight.application) {
            (VERSION, STATE, POOL_ID): parse_pool_state;
            default: accept;
        }
    }

    state parse_pool_state {
        packet.extract(hdr.pool_state);
        transition accept;
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
            (5, 0, 0, PROTOCOL_TCP): parse_tcp;
            default: accept;
        }
    }

    // Nor are those with extension headers.
    state parse_ipv6 {
        packet.extract(hdr.ipv6);
        verify(hdr.ipv6.version == 6, error.ParserInvalidArgument);
        transition select(hdr.ipv6.next_header) {
            PROTOCOL_UDP: parse_udp;
            PROTOCOL_TCP: parse_tcp;
            default: accept;
        }
    }

    state parse_udp {
        packet.extract(hdr.udp);
        transition select(hdr.udp.destination) {
            MIDFLIGHT_PORT: parse_midflight;
            TUNNEL_PORT: parse_inner;
            default: accept;
        }
    }

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

    state parse_midflight {
        packet.extract(hdr.midflight);
        transition select(hdr.midflight.version, hdr.midflight.kind, hdr.midflight.application) {
            (VERSION, REQUEST, POOL_ID): parse_pool;
            default: accept;
        }
    }

    state parse_pool {
        packet.extract(hdr.pool);
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
        verify_checksum(hdr.inner_ipv4.isValid() && hdr.inner_ipv4.ihl == 5,
            {
                hdr.inner_ipv4.version, hdr.inner_ipv4.ihl, hdr.inner_ipv4.tos, hdr.inner_ipv4.length, hdr.inner_ipv4.identification,
                hdr.inner_ipv4.reserved, hdr.inner_ipv4.dont_fragment, hdr.inner_ipv4.more_fragments, hdr.inner_ipv4.fragment_offset,
                hdr.inner_ipv4.ttl, hdr.inner_ipv4.protocol, hdr.inner_ipv4.source, hdr.inner_ipv4.destination
            },
            hdr.inner_ipv4.checksum, HashAlgorithm.csum16);
        // With the checksum among them, the words of a packet add up to all ones.
        verify_checksum_with_payload(hdr.ipv6.isValid() && hdr.midflight.isValid(),
            {
                hdr.ipv6.source, hdr.ipv6.destination, hdr.udp.length, (bit<16>)PROTOCOL_UDP, hdr.udp,
                hdr.midflight, hdr.pool
            },
            meta.remainder, HashAlgorithm.csum16);
    }
}

// A hash from a CRC-32: MurmurHash3's finaliser. CRCs are linear: with seeds of their own they would still collide for
// the same values.
bit<32> scramble(in bit<32> checksum, in bit<32> seed) {
    bit<32> h = checksum ^ (seed * 0x9E3779B1);
    h = (h ^ (h >> 16)) * 0x85EBCA6B;
    h = (h ^ (h >> 13)) * 0xC2B2AE35;
    return h ^ (h >> 16);
}

// The kernel of pool: Balance.ingress in balance.py, with instances=8, buckets=16, choices=2, lifetime=1000000,
// patience=0, clock='switch', flow_bits=64.
// Write an instance into each request: that of its flow's bucket, or the less loaded one of two.
control pool_kernel(inout headers_t hdr, inout metadata_t meta, in standard_metadata_t standard_metadata) {
    register<bit<64>>(9) loads_0;
    register<bit<64>>(9) loads_1;
    bool reporting;
    bit<32> checksum;
    bit<16> bucket;
    bit<16> first_value;
    bit<1> up_value;
    bool keeps;
    bit<16> chosen;
    bit<16> second_value;
    bit<48> now;
    bit<64> report;
    bit<16> one;
    bit<16> other;
    bit<64> first_load;
    bit<64> second_load;
    bool current;

    action first_is(bit<16> found) {
        first_value = found;
    }

    table first {
        key = {
            bucket: exact @name("key");
        }
        actions = {
            first_is;
            NoAction;
        }
        const default_action = NoAction();
        size = 16;
    }

    action up_is(bit<1> found) {
        up_value = found;
    }

    table up {
        key = {
            hdr.pool.instance: exact @name("key");
        }
        actions = {
            up_is;
            NoAction;
        }
        const default_action = NoAction();
        size = 8;
    }

    action second_is(bit<16> found) {
        second_value = found;
    }

    table second {
        key = {
            bucket: exact @name("key");
        }
        actions = {
            second_is;
            NoAction;
        }
        const default_action = NoAction();
        size = 16;
    }

    apply {
        if (hdr.pool_state.isValid()) {
            if (hdr.state.index < 9) {
                if (hdr.state.written == 0) {
                    loads_0.read(hdr.pool_state.loads_0, hdr.state.index);
                    loads_1.read(hdr.pool_state.loads_1, hdr.state.index);
                }
                if (hdr.state.written[0:0] == 1) {
                    loads_0.write(hdr.state.index, hdr.pool_state.loads_0);
                    loads_1.write(hdr.state.index, hdr.pool_state.loads_1);
                }
            }
            hdr.midflight.kind = STATE_DONE;
            return;
        }

        reporting = hdr.pool.operation == 2;
        hash(checksum, HashAlgorithm.crc32, 32w0, { hdr.pool.flow }, 64w0x100000000);
        bucket = (bit<16>)(scramble(checksum, 1111575617) & 15);
        // first = self.first.get(bucket, 0)
        first_value = 0;
        first.apply();
        // keeps = self.up.get(wire.instance, 0) == 1
        up_value = 0;
        up.apply();
        keeps = up_value == 1;
        chosen = first_value;
        // second = self.second.get(bucket, 0)
        second_value = 0;
        second.apply();
        now = standard_metadata.ingress_global_timestamp;
        report = 1w1 ++ now[46:0] ++ hdr.pool.load;
        one = reporting ? hdr.pool.instance : first_value;
        other = reporting ? hdr.pool.instance : second_value;
        // first_load = self.loads[0].update_if(one, reporting, lambda _: report)
        first_load = 0;
        if (one < 9) {
            loads_0.read(first_load, (bit<32>)one);
            if (reporting) {
                loads_0.write((bit<32>)one, report);
            }
        }
        // second_load = self.loads[1].update_if(other, reporting, lambda _: report)
        second_load = 0;
        if (other < 9) {
            loads_1.read(second_load, (bit<32>)other);
            if (reporting) {
                loads_1.write((bit<32>)other, report);
            }
        }
        current = first_load != 0
            && now[46:0] - first_load[62:16] <= 1000000
            && second_load != 0
            && now[46:0] - second_load[62:16] <= 1000000;
        if (second_value != 0 && current && second_load[15:0] < first_load[15:0]) {
            chosen = second_value;
        }
        if (hdr.pool.operation == 1) {
            if (!keeps) {
                hdr.pool.instance = chosen;
            }
        } else if (!reporting) {
            meta.verdict = DROP;
        }
    }
}

// Compute-aware forwarding (RFC 10053): a request to a service goes to one of its instances.
@noWarn("invalid-header")
control steering_control(inout headers_t hdr, inout metadata_t meta,
                         inout standard_metadata_t standard_metadata) {
    // Requests and packets between forwarders that are not steered.
    counter(4, CounterType.packets) unsteered;
    // What each instance is sent from here.
    counter(9, CounterType.packets_and_bytes) requests;

    bit<128> source;
    bit<128> destination;
    bit<8> protocol;
    bit<16> source_port;
    bit<16> destination_port;
    bit<6> dscp;
    bit<20> flow_label;
    bit<16> application;
    bit<1> classified;
    bit<4> pool;
    bit<32> flow;
    bit<6> bucket;
    bit<16> length;
    bit<9> port;
    bit<48> mac;
    bit<16> room;  // the largest request that fits between forwarders, or 0 for one that need not
    bit<8> traffic_class;
    bit<8> congestion;
    bit<128> contact;

    action service(bit<4> pool_number, bit<1> has_rules) {
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
        size = 4;
    }

    action class_is(bit<4> pool_number) {
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
        size = 8;
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
        room = 1472;
    }

    action to_contact_ipv6(bit<16> instance, bit<9> egress_port, bit<48> neighbour, bit<128> address) {
        way_is(instance, egress_port, neighbour);
        contact = address;
        room = 1452;
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
        size = 512;
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
        size = 8;
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
        size = 8;
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

    apply {
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
        flow = hdr.ipv4.source ^ 6684571;
        if (hdr.ipv6.isValid()) {
            flow = hdr.ipv6.source[127:96] ^ hdr.ipv6.source[95:64] ^ hdr.ipv6.source[63:32] ^ hdr.ipv6.source[31:0];
        }
        flow = (flow ^ (source_port ++ destination_port)) * 2654435761;  // whose highest bits depend on all of it
        bucket = flow[31:26];

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
                if (room == 1472) {
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
    }
}

@noWarn("invalid-header")
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

    // Packets that applications drop, by their place in the program.
    counter(1, CounterType.packets) dropped;

    pool_kernel() pool;
    steering_control() steering;

    apply {
        meta.verdict = FORWARD;
        if (hdr.packet_out.isValid()) {
            // From the controller: sent as it is; but a request for state goes to the application and back.
            standard_metadata.egress_spec = (bit<9>)hdr.packet_out.egress_port;
            hdr.packet_out.setInvalid();
            if (!hdr.state.isValid()) {
                return;
            }
            meta.admitted = true;
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
            } else if (hdr.pool.isValid() || hdr.pool_state.isValid()) {
                pool.apply(hdr, meta, standard_metadata);
                meta.instance = (bit<16>)hdr.pool.instance;
                if (meta.verdict == DROP) {
                    dropped.count(0);
                }
            }
        }

        // Act on the verdict.
        if (hdr.state.isValid()) {
            return;  // on its way back to the controller
        }
        if (meta.verdict == DROP) {
            drop();
        } else if (meta.verdict == REPLY) {
            reply();
        } else if (meta.verdict == MULTICAST) {
            multicast();
        } else if ((hdr.ipv4.isValid() && hdr.ipv4.ihl == 5 && hdr.ipv4.ttl > 1)
                || (hdr.ipv6.isValid() && hdr.ipv6.hop_limit > 1)) {
            steering.apply(hdr, meta, standard_metadata);
            if (!meta.steered) {
                if (hdr.ipv4.isValid()) {
                    route.apply();
                } else {
                    route_ipv6.apply();
                }
            }
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
        if (standard_metadata.egress_port == CPU_PORT) {
            hdr.packet_in.setValid();
            hdr.packet_in.ingress_port = (bit<16>)standard_metadata.ingress_port;
        }
    }
}

control compute_checksums(inout headers_t hdr, inout metadata_t meta) {
    apply {
        update_checksum(hdr.ipv4.isValid() && !meta.steered,
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
                hdr.midflight, hdr.pool
            },
            hdr.udp.checksum, HashAlgorithm.csum16);
        update_checksum(hdr.ipv6.isValid() && hdr.midflight.isValid() && hdr.udp.checksum == 0,
            { 16w0 }, hdr.udp.checksum, HashAlgorithm.csum16);
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
    }
}

control deparse(packet_out packet, in headers_t hdr) {
    apply {
        packet.emit(hdr.packet_in);
        packet.emit(hdr.ethernet);
        packet.emit(hdr.outer_ipv4);
        packet.emit(hdr.outer_ipv6);
        packet.emit(hdr.outer_udp);
        packet.emit(hdr.icmp);
        packet.emit(hdr.ipv4);
        packet.emit(hdr.ipv6);
        packet.emit(hdr.udp);
        packet.emit(hdr.inner_ipv4);
        packet.emit(hdr.inner_ipv6);
        packet.emit(hdr.tcp);
        packet.emit(hdr.midflight);
        packet.emit(hdr.state);
        packet.emit(hdr.pool_state);
        packet.emit(hdr.pool);
    }
}

V1Switch(parse(), verify_checksums(), ingress(), egress(), compute_checksums(), deparse()) main;

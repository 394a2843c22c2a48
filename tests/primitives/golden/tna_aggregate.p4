// Gradients on one switch: P4_16 for Tofino (tna).
// Written by Midflight from kernels in Python. Change those and compile again, rather than this file.

#include <core.p4>
#include <tna.p4>

const PortId_t CPU_PORT = 192;          // packets from and to the controller
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

// The applications' ids in the common header.
const bit<16> GRADIENTS_ID = 1;

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

// What ingress tells egress about a packet, in front of it.
header bridge_t {
    bit<8> origin;
    bit<8> verdict;
    bit<7> reserved;
    bit<9> ingress_port;
}

// What gradients sends. Aggregate: Sum `lanes` numbers of every worker, element by element, and multicast the sum when
// all have sent theirs.
header gradients_t {
    bit<16> slot;
    bit<8> worker;
    bit<8> flags;
    bit<16> job;
    bit<16> epoch;
    int<32> values_0;
    int<32> values_1;
    int<32> values_2;
    int<32> values_3;
    int<32> values_4;
    int<32> values_5;
    int<32> values_6;
    int<32> values_7;
    int<32> values_8;
    int<32> values_9;
    int<32> values_10;
    int<32> values_11;
    int<32> values_12;
    int<32> values_13;
    int<32> values_14;
    int<32> values_15;
    int<32> values_16;
    int<32> values_17;
    int<32> values_18;
    int<32> values_19;
    int<32> values_20;
    int<32> values_21;
    int<32> values_22;
    int<32> values_23;
    int<32> values_24;
    int<32> values_25;
    int<32> values_26;
    int<32> values_27;
    int<32> values_28;
    int<32> values_29;
    int<32> values_30;
    int<32> values_31;
}

struct headers_t {
    bridge_t bridge;
    packet_out_t packet_out;
    ethernet_t ethernet;
    ipv4_t ipv4;
    ipv6_t ipv6;
    udp_t udp;
    midflight_t midflight;
    gradients_t gradients;
}

struct metadata_t {
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
    bit<2> verdict;       // what the kernel decided
}

struct egress_headers_t {
    packet_in_t packet_in;
    ethernet_t ethernet;
    ipv4_t ipv4;
    ipv6_t ipv6;
    udp_t udp;
    midflight_t midflight;
}

struct egress_metadata_t {
    bit<2> verdict;        // what the kernel decided
    bit<9> ingress_port;   // that the packet came by
    bit<32> address;       // of the member that a copy is for, or
    bit<128> address_ipv6;
    bool summed;           // its UDP header has a checksum
    bit<16> rest;          // of the UDP checksum: what it is without what may change
}

parser ingress_parse(packet_in packet, out headers_t hdr, out metadata_t meta,
                     out ingress_intrinsic_metadata_t ig_intr_md) {
    Checksum() ipv4_checksum;
    Checksum() udp_checksum;

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
        transition select(ig_intr_md.ingress_port) {
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

    state parse_midflight {
        packet.extract(hdr.midflight);
        transition select(hdr.midflight.version, hdr.midflight.kind, hdr.midflight.application) {
            (VERSION, REQUEST, GRADIENTS_ID): parse_gradients;
            default: accept;
        }
    }

    state parse_gradients {
        packet.extract(hdr.gradients);
        transition accept;
    }
}

// The kernel of gradients: Aggregate.ingress in aggregate.py, with workers=4, lanes=32, slots=256, operation='sum',
// number='int32', overflow='saturate', base=0, rank=-1, switches=0, first=0.
// Sum `lanes` numbers of every worker, element by element, and multicast the sum when all have sent theirs.
// Its longest chain of operations that depend on each other takes 15 stages.
control gradients_kernel(inout headers_t hdr, inout metadata_t meta) {
    bit<8> worker;
    bit<48> chunk;
    bit<4> mine;
    bit<4> before;
    int<32> value;
    int<32> total;
    int<32> total_1_value;
    int<32> value_1;
    int<32> total_2_value;
    int<32> value_2;
    int<32> total_3_value;
    int<32> value_3;
    int<32> total_4_value;
    int<32> value_4;
    int<32> total_5_value;
    int<32> value_5;
    int<32> total_6_value;
    int<32> value_6;
    int<32> total_7_value;
    int<32> value_7;
    int<32> total_8_value;
    int<32> value_8;
    int<32> total_9_value;
    int<32> value_9;
    int<32> total_10_value;
    int<32> value_10;
    int<32> total_11_value;
    int<32> value_11;
    int<32> total_12_value;
    int<32> value_12;
    int<32> total_13_value;
    int<32> value_13;
    int<32> total_14_value;
    int<32> value_14;
    int<32> total_15_value;
    int<32> value_15;
    int<32> total_16_value;
    int<32> value_16;
    int<32> total_17_value;
    int<32> value_17;
    int<32> total_18_value;
    int<32> value_18;
    int<32> total_19_value;
    int<32> value_19;
    int<32> total_20_value;
    int<32> value_20;
    int<32> total_21_value;
    int<32> value_21;
    int<32> total_22_value;
    int<32> value_22;
    int<32> total_23_value;
    int<32> value_23;
    int<32> total_24_value;
    int<32> value_24;
    int<32> total_25_value;
    int<32> value_25;
    int<32> total_26_value;
    int<32> value_26;
    int<32> total_27_value;
    int<32> value_27;
    int<32> total_28_value;
    int<32> value_28;
    int<32> total_29_value;
    int<32> value_29;
    int<32> total_30_value;
    int<32> value_30;
    int<32> total_31_value;
    int<32> value_31;
    bit<48> part;
    bit<32> held_upper;
    bit<32> held_high_value;
    bit<32> ahead_by;
    bit<32> held_low_value;
    bit<32> newer_by;
    bit<32> older_by;
    bit<4> power;
    bit<4> part_2;
    bit<4> chosen;

    Register<int<32>, bit<9>>(512, 0) held_high;
    RegisterAction<int<32>, bit<9>, int<32>>(held_high) held_high_update = {
        void apply(inout int<32> stored, out int<32> result) {
            result = stored;
            if (stored == 0 || (int<32>)held_upper - stored > 0) {
                stored = (int<32>)held_upper;
            }
        }
    };

    Register<bit<32>, bit<9>>(512, 0) held_low;
    RegisterAction<bit<32>, bit<9>, bit<32>>(held_low) held_low_write = {
        void apply(inout bit<32> stored, out bit<32> result) {
            result = stored;
            stored = chunk[31:0];
        }
    };
    RegisterAction<bit<32>, bit<9>, bit<32>>(held_low) held_low_max = {
        void apply(inout bit<32> stored, out bit<32> result) {
            result = stored;
            stored = max(chunk[31:0], stored);
        }
    };
    RegisterAction<bit<32>, bit<9>, bit<32>>(held_low) held_low_read = {
        void apply(inout bit<32> stored, out bit<32> result) {
            result = stored;
        }
    };

    Register<bit<8>, bit<9>>(512, 0) seen;
    RegisterAction<bit<8>, bit<9>, bit<8>>(seen) seen_write = {
        void apply(inout bit<8> stored, out bit<8> result) {
            result = stored;
            stored = (bit<8>)mine;
        }
    };
    RegisterAction<bit<8>, bit<9>, bit<8>>(seen) seen_or = {
        void apply(inout bit<8> stored, out bit<8> result) {
            result = stored;
            stored = stored | (bit<8>)mine;
        }
    };

    Register<int<32>, bit<9>>(512, 0) total_0;
    RegisterAction<int<32>, bit<9>, int<32>>(total_0) total_0_write = {
        void apply(inout int<32> stored) {
            stored = value;
        }
    };
    RegisterAction<int<32>, bit<9>, int<32>>(total_0) total_0_add = {
        void apply(inout int<32> stored, out int<32> result) {
            stored = stored |+| value;
            result = stored;
        }
    };

    Register<int<32>, bit<9>>(512, 0) total_1;
    RegisterAction<int<32>, bit<9>, int<32>>(total_1) total_1_write = {
        void apply(inout int<32> stored) {
            stored = value_1;
        }
    };
    RegisterAction<int<32>, bit<9>, int<32>>(total_1) total_1_add = {
        void apply(inout int<32> stored, out int<32> result) {
            stored = stored |+| value_1;
            result = stored;
        }
    };

    Register<int<32>, bit<9>>(512, 0) total_2;
    RegisterAction<int<32>, bit<9>, int<32>>(total_2) total_2_write = {
        void apply(inout int<32> stored) {
            stored = value_2;
        }
    };
    RegisterAction<int<32>, bit<9>, int<32>>(total_2) total_2_add = {
        void apply(inout int<32> stored, out int<32> result) {
            stored = stored |+| value_2;
            result = stored;
        }
    };

    Register<int<32>, bit<9>>(512, 0) total_3;
    RegisterAction<int<32>, bit<9>, int<32>>(total_3) total_3_write = {
        void apply(inout int<32> stored) {
            stored = value_3;
        }
    };
    RegisterAction<int<32>, bit<9>, int<32>>(total_3) total_3_add = {
        void apply(inout int<32> stored, out int<32> result) {
            stored = stored |+| value_3;
            result = stored;
        }
    };

    Register<int<32>, bit<9>>(512, 0) total_4;
    RegisterAction<int<32>, bit<9>, int<32>>(total_4) total_4_write = {
        void apply(inout int<32> stored) {
            stored = value_4;
        }
    };
    RegisterAction<int<32>, bit<9>, int<32>>(total_4) total_4_add = {
        void apply(inout int<32> stored, out int<32> result) {
            stored = stored |+| value_4;
            result = stored;
        }
    };

    Register<int<32>, bit<9>>(512, 0) total_5;
    RegisterAction<int<32>, bit<9>, int<32>>(total_5) total_5_write = {
        void apply(inout int<32> stored) {
            stored = value_5;
        }
    };
    RegisterAction<int<32>, bit<9>, int<32>>(total_5) total_5_add = {
        void apply(inout int<32> stored, out int<32> result) {
            stored = stored |+| value_5;
            result = stored;
        }
    };

    Register<int<32>, bit<9>>(512, 0) total_6;
    RegisterAction<int<32>, bit<9>, int<32>>(total_6) total_6_write = {
        void apply(inout int<32> stored) {
            stored = value_6;
        }
    };
    RegisterAction<int<32>, bit<9>, int<32>>(total_6) total_6_add = {
        void apply(inout int<32> stored, out int<32> result) {
            stored = stored |+| value_6;
            result = stored;
        }
    };

    Register<int<32>, bit<9>>(512, 0) total_7;
    RegisterAction<int<32>, bit<9>, int<32>>(total_7) total_7_write = {
        void apply(inout int<32> stored) {
            stored = value_7;
        }
    };
    RegisterAction<int<32>, bit<9>, int<32>>(total_7) total_7_add = {
        void apply(inout int<32> stored, out int<32> result) {
            stored = stored |+| value_7;
            result = stored;
        }
    };

    Register<int<32>, bit<9>>(512, 0) total_8;
    RegisterAction<int<32>, bit<9>, int<32>>(total_8) total_8_write = {
        void apply(inout int<32> stored) {
            stored = value_8;
        }
    };
    RegisterAction<int<32>, bit<9>, int<32>>(total_8) total_8_add = {
        void apply(inout int<32> stored, out int<32> result) {
            stored = stored |+| value_8;
            result = stored;
        }
    };

    Register<int<32>, bit<9>>(512, 0) total_9;
    RegisterAction<int<32>, bit<9>, int<32>>(total_9) total_9_write = {
        void apply(inout int<32> stored) {
            stored = value_9;
        }
    };
    RegisterAction<int<32>, bit<9>, int<32>>(total_9) total_9_add = {
        void apply(inout int<32> stored, out int<32> result) {
            stored = stored |+| value_9;
            result = stored;
        }
    };

    Register<int<32>, bit<9>>(512, 0) total_10;
    RegisterAction<int<32>, bit<9>, int<32>>(total_10) total_10_write = {
        void apply(inout int<32> stored) {
            stored = value_10;
        }
    };
    RegisterAction<int<32>, bit<9>, int<32>>(total_10) total_10_add = {
        void apply(inout int<32> stored, out int<32> result) {
            stored = stored |+| value_10;
            result = stored;
        }
    };

    Register<int<32>, bit<9>>(512, 0) total_11;
    RegisterAction<int<32>, bit<9>, int<32>>(total_11) total_11_write = {
        void apply(inout int<32> stored) {
            stored = value_11;
        }
    };
    RegisterAction<int<32>, bit<9>, int<32>>(total_11) total_11_add = {
        void apply(inout int<32> stored, out int<32> result) {
            stored = stored |+| value_11;
            result = stored;
        }
    };

    Register<int<32>, bit<9>>(512, 0) total_12;
    RegisterAction<int<32>, bit<9>, int<32>>(total_12) total_12_write = {
        void apply(inout int<32> stored) {
            stored = value_12;
        }
    };
    RegisterAction<int<32>, bit<9>, int<32>>(total_12) total_12_add = {
        void apply(inout int<32> stored, out int<32> result) {
            stored = stored |+| value_12;
            result = stored;
        }
    };

    Register<int<32>, bit<9>>(512, 0) total_13;
    RegisterAction<int<32>, bit<9>, int<32>>(total_13) total_13_write = {
        void apply(inout int<32> stored) {
            stored = value_13;
        }
    };
    RegisterAction<int<32>, bit<9>, int<32>>(total_13) total_13_add = {
        void apply(inout int<32> stored, out int<32> result) {
            stored = stored |+| value_13;
            result = stored;
        }
    };

    Register<int<32>, bit<9>>(512, 0) total_14;
    RegisterAction<int<32>, bit<9>, int<32>>(total_14) total_14_write = {
        void apply(inout int<32> stored) {
            stored = value_14;
        }
    };
    RegisterAction<int<32>, bit<9>, int<32>>(total_14) total_14_add = {
        void apply(inout int<32> stored, out int<32> result) {
            stored = stored |+| value_14;
            result = stored;
        }
    };

    Register<int<32>, bit<9>>(512, 0) total_15;
    RegisterAction<int<32>, bit<9>, int<32>>(total_15) total_15_write = {
        void apply(inout int<32> stored) {
            stored = value_15;
        }
    };
    RegisterAction<int<32>, bit<9>, int<32>>(total_15) total_15_add = {
        void apply(inout int<32> stored, out int<32> result) {
            stored = stored |+| value_15;
            result = stored;
        }
    };

    Register<int<32>, bit<9>>(512, 0) total_16;
    RegisterAction<int<32>, bit<9>, int<32>>(total_16) total_16_write = {
        void apply(inout int<32> stored) {
            stored = value_16;
        }
    };
    RegisterAction<int<32>, bit<9>, int<32>>(total_16) total_16_add = {
        void apply(inout int<32> stored, out int<32> result) {
            stored = stored |+| value_16;
            result = stored;
        }
    };

    Register<int<32>, bit<9>>(512, 0) total_17;
    RegisterAction<int<32>, bit<9>, int<32>>(total_17) total_17_write = {
        void apply(inout int<32> stored) {
            stored = value_17;
        }
    };
    RegisterAction<int<32>, bit<9>, int<32>>(total_17) total_17_add = {
        void apply(inout int<32> stored, out int<32> result) {
            stored = stored |+| value_17;
            result = stored;
        }
    };

    Register<int<32>, bit<9>>(512, 0) total_18;
    RegisterAction<int<32>, bit<9>, int<32>>(total_18) total_18_write = {
        void apply(inout int<32> stored) {
            stored = value_18;
        }
    };
    RegisterAction<int<32>, bit<9>, int<32>>(total_18) total_18_add = {
        void apply(inout int<32> stored, out int<32> result) {
            stored = stored |+| value_18;
            result = stored;
        }
    };

    Register<int<32>, bit<9>>(512, 0) total_19;
    RegisterAction<int<32>, bit<9>, int<32>>(total_19) total_19_write = {
        void apply(inout int<32> stored) {
            stored = value_19;
        }
    };
    RegisterAction<int<32>, bit<9>, int<32>>(total_19) total_19_add = {
        void apply(inout int<32> stored, out int<32> result) {
            stored = stored |+| value_19;
            result = stored;
        }
    };

    Register<int<32>, bit<9>>(512, 0) total_20;
    RegisterAction<int<32>, bit<9>, int<32>>(total_20) total_20_write = {
        void apply(inout int<32> stored) {
            stored = value_20;
        }
    };
    RegisterAction<int<32>, bit<9>, int<32>>(total_20) total_20_add = {
        void apply(inout int<32> stored, out int<32> result) {
            stored = stored |+| value_20;
            result = stored;
        }
    };

    Register<int<32>, bit<9>>(512, 0) total_21;
    RegisterAction<int<32>, bit<9>, int<32>>(total_21) total_21_write = {
        void apply(inout int<32> stored) {
            stored = value_21;
        }
    };
    RegisterAction<int<32>, bit<9>, int<32>>(total_21) total_21_add = {
        void apply(inout int<32> stored, out int<32> result) {
            stored = stored |+| value_21;
            result = stored;
        }
    };

    Register<int<32>, bit<9>>(512, 0) total_22;
    RegisterAction<int<32>, bit<9>, int<32>>(total_22) total_22_write = {
        void apply(inout int<32> stored) {
            stored = value_22;
        }
    };
    RegisterAction<int<32>, bit<9>, int<32>>(total_22) total_22_add = {
        void apply(inout int<32> stored, out int<32> result) {
            stored = stored |+| value_22;
            result = stored;
        }
    };

    Register<int<32>, bit<9>>(512, 0) total_23;
    RegisterAction<int<32>, bit<9>, int<32>>(total_23) total_23_write = {
        void apply(inout int<32> stored) {
            stored = value_23;
        }
    };
    RegisterAction<int<32>, bit<9>, int<32>>(total_23) total_23_add = {
        void apply(inout int<32> stored, out int<32> result) {
            stored = stored |+| value_23;
            result = stored;
        }
    };

    Register<int<32>, bit<9>>(512, 0) total_24;
    RegisterAction<int<32>, bit<9>, int<32>>(total_24) total_24_write = {
        void apply(inout int<32> stored) {
            stored = value_24;
        }
    };
    RegisterAction<int<32>, bit<9>, int<32>>(total_24) total_24_add = {
        void apply(inout int<32> stored, out int<32> result) {
            stored = stored |+| value_24;
            result = stored;
        }
    };

    Register<int<32>, bit<9>>(512, 0) total_25;
    RegisterAction<int<32>, bit<9>, int<32>>(total_25) total_25_write = {
        void apply(inout int<32> stored) {
            stored = value_25;
        }
    };
    RegisterAction<int<32>, bit<9>, int<32>>(total_25) total_25_add = {
        void apply(inout int<32> stored, out int<32> result) {
            stored = stored |+| value_25;
            result = stored;
        }
    };

    Register<int<32>, bit<9>>(512, 0) total_26;
    RegisterAction<int<32>, bit<9>, int<32>>(total_26) total_26_write = {
        void apply(inout int<32> stored) {
            stored = value_26;
        }
    };
    RegisterAction<int<32>, bit<9>, int<32>>(total_26) total_26_add = {
        void apply(inout int<32> stored, out int<32> result) {
            stored = stored |+| value_26;
            result = stored;
        }
    };

    Register<int<32>, bit<9>>(512, 0) total_27;
    RegisterAction<int<32>, bit<9>, int<32>>(total_27) total_27_write = {
        void apply(inout int<32> stored) {
            stored = value_27;
        }
    };
    RegisterAction<int<32>, bit<9>, int<32>>(total_27) total_27_add = {
        void apply(inout int<32> stored, out int<32> result) {
            stored = stored |+| value_27;
            result = stored;
        }
    };

    Register<int<32>, bit<9>>(512, 0) total_28;
    RegisterAction<int<32>, bit<9>, int<32>>(total_28) total_28_write = {
        void apply(inout int<32> stored) {
            stored = value_28;
        }
    };
    RegisterAction<int<32>, bit<9>, int<32>>(total_28) total_28_add = {
        void apply(inout int<32> stored, out int<32> result) {
            stored = stored |+| value_28;
            result = stored;
        }
    };

    Register<int<32>, bit<9>>(512, 0) total_29;
    RegisterAction<int<32>, bit<9>, int<32>>(total_29) total_29_write = {
        void apply(inout int<32> stored) {
            stored = value_29;
        }
    };
    RegisterAction<int<32>, bit<9>, int<32>>(total_29) total_29_add = {
        void apply(inout int<32> stored, out int<32> result) {
            stored = stored |+| value_29;
            result = stored;
        }
    };

    Register<int<32>, bit<9>>(512, 0) total_30;
    RegisterAction<int<32>, bit<9>, int<32>>(total_30) total_30_write = {
        void apply(inout int<32> stored) {
            stored = value_30;
        }
    };
    RegisterAction<int<32>, bit<9>, int<32>>(total_30) total_30_add = {
        void apply(inout int<32> stored, out int<32> result) {
            stored = stored |+| value_30;
            result = stored;
        }
    };

    Register<int<32>, bit<9>>(512, 0) total_31;
    RegisterAction<int<32>, bit<9>, int<32>>(total_31) total_31_write = {
        void apply(inout int<32> stored) {
            stored = value_31;
        }
    };
    RegisterAction<int<32>, bit<9>, int<32>>(total_31) total_31_add = {
        void apply(inout int<32> stored, out int<32> result) {
            stored = stored |+| value_31;
            result = stored;
        }
    };

    action power_of_two_is(bit<4> power_of_two) {
        power = power_of_two;
    }

    table power_of_two {
        key = {
            worker: exact;
        }
        actions = {
            power_of_two_is;
        }
        const default_action = power_of_two_is(0);
        const entries = {
            0: power_of_two_is(1);
            1: power_of_two_is(2);
            2: power_of_two_is(4);
            3: power_of_two_is(8);
        }
        size = 4;
    }

    action compute_ahead_by() {
        ahead_by = held_upper - held_high_value;
    }

    action compute_newer_by() {
        newer_by = chunk[31:0] |-| held_low_value;
    }

    action compute_older_by() {
        older_by = held_low_value |-| chunk[31:0];
    }

    action compute_part_2() {
        part_2 = before & mine;
    }

    action compute_chosen() {
        chosen = before | mine;
    }

    action compute_flags() {
        hdr.gradients.flags = hdr.gradients.flags & 2;
    }

    apply {
        worker = hdr.gradients.worker;
        if (hdr.gradients.slot[15:9] != 0 || worker[7:2] != 0 || hdr.midflight.sequence == 0) {
            meta.verdict = DROP;
            return;
        }
        part = (bit<48>)hdr.gradients.job;
        chunk = part[15:0] ++ hdr.midflight.sequence;
        held_upper = chunk[47:32] ++ 16w1;
        // there = held.update(index, lambda old: number if old == 0 or signed(number - old) > 0 else old)
        held_high_value = (bit<32>)held_high_update.execute(hdr.gradients.slot[8:0]);
        compute_ahead_by();
        if (held_high_value == 0 || (ahead_by[31:31] == 0 && ahead_by != 0)) {
            held_low_value = held_low_write.execute(hdr.gradients.slot[8:0]);
        } else if (ahead_by == 0) {
            held_low_value = held_low_max.execute(hdr.gradients.slot[8:0]);
        } else {
            held_low_value = held_low_read.execute(hdr.gradients.slot[8:0]);
        }
        if (held_high_value == 0 || (ahead_by[31:31] == 0 && ahead_by != 0)) {
            newer_by = 1;
            older_by = 0;
        } else if (ahead_by == 0) {
            compute_newer_by();
            compute_older_by();
        } else {
            newer_by = 0;
            older_by = 1;
        }
        if (older_by != 0) {
            meta.verdict = DROP;
            return;
        }
        power_of_two.apply();
        mine = power;
        if (newer_by != 0) {
            // before = self.seen.update(wire.slot, lambda old: mine if fresh else old | mine)
            before = (bit<4>)seen_write.execute(hdr.gradients.slot[8:0]);
        } else {
            before = (bit<4>)seen_or.execute(hdr.gradients.slot[8:0]);
        }
        compute_part_2();
        if (newer_by != 0) {
            chosen = mine;
        } else {
            compute_chosen();
        }
        // lane 0
        if (newer_by == 0 && part_2 != 0) {
            value = 0;
        } else {
            value = hdr.gradients.values_0;
        }
        if (newer_by != 0) {
            total = value;
            // total = self.total[lane].update_fetch(wire.slot, lambda old: value if fresh else self.combined(old,
            // value))
            total_0_write.execute(hdr.gradients.slot[8:0]);
        } else {
            total = total_0_add.execute(hdr.gradients.slot[8:0]);
        }
        hdr.gradients.values_0 = total;
        // lane 1
        if (newer_by == 0 && part_2 != 0) {
            value_1 = 0;
        } else {
            value_1 = hdr.gradients.values_1;
        }
        if (newer_by != 0) {
            total_1_value = value_1;
            total_1_write.execute(hdr.gradients.slot[8:0]);
        } else {
            total_1_value = total_1_add.execute(hdr.gradients.slot[8:0]);
        }
        hdr.gradients.values_1 = total_1_value;
        // lane 2
        if (newer_by == 0 && part_2 != 0) {
            value_2 = 0;
        } else {
            value_2 = hdr.gradients.values_2;
        }
        if (newer_by != 0) {
            total_2_value = value_2;
            total_2_write.execute(hdr.gradients.slot[8:0]);
        } else {
            total_2_value = total_2_add.execute(hdr.gradients.slot[8:0]);
        }
        hdr.gradients.values_2 = total_2_value;
        // lane 3
        if (newer_by == 0 && part_2 != 0) {
            value_3 = 0;
        } else {
            value_3 = hdr.gradients.values_3;
        }
        if (newer_by != 0) {
            total_3_value = value_3;
            total_3_write.execute(hdr.gradients.slot[8:0]);
        } else {
            total_3_value = total_3_add.execute(hdr.gradients.slot[8:0]);
        }
        hdr.gradients.values_3 = total_3_value;
        // lane 4
        if (newer_by == 0 && part_2 != 0) {
            value_4 = 0;
        } else {
            value_4 = hdr.gradients.values_4;
        }
        if (newer_by != 0) {
            total_4_value = value_4;
            total_4_write.execute(hdr.gradients.slot[8:0]);
        } else {
            total_4_value = total_4_add.execute(hdr.gradients.slot[8:0]);
        }
        hdr.gradients.values_4 = total_4_value;
        // lane 5
        if (newer_by == 0 && part_2 != 0) {
            value_5 = 0;
        } else {
            value_5 = hdr.gradients.values_5;
        }
        if (newer_by != 0) {
            total_5_value = value_5;
            total_5_write.execute(hdr.gradients.slot[8:0]);
        } else {
            total_5_value = total_5_add.execute(hdr.gradients.slot[8:0]);
        }
        hdr.gradients.values_5 = total_5_value;
        // lane 6
        if (newer_by == 0 && part_2 != 0) {
            value_6 = 0;
        } else {
            value_6 = hdr.gradients.values_6;
        }
        if (newer_by != 0) {
            total_6_value = value_6;
            total_6_write.execute(hdr.gradients.slot[8:0]);
        } else {
            total_6_value = total_6_add.execute(hdr.gradients.slot[8:0]);
        }
        hdr.gradients.values_6 = total_6_value;
        // lane 7
        if (newer_by == 0 && part_2 != 0) {
            value_7 = 0;
        } else {
            value_7 = hdr.gradients.values_7;
        }
        if (newer_by != 0) {
            total_7_value = value_7;
            total_7_write.execute(hdr.gradients.slot[8:0]);
        } else {
            total_7_value = total_7_add.execute(hdr.gradients.slot[8:0]);
        }
        hdr.gradients.values_7 = total_7_value;
        // lane 8
        if (newer_by == 0 && part_2 != 0) {
            value_8 = 0;
        } else {
            value_8 = hdr.gradients.values_8;
        }
        if (newer_by != 0) {
            total_8_value = value_8;
            total_8_write.execute(hdr.gradients.slot[8:0]);
        } else {
            total_8_value = total_8_add.execute(hdr.gradients.slot[8:0]);
        }
        hdr.gradients.values_8 = total_8_value;
        // lane 9
        if (newer_by == 0 && part_2 != 0) {
            value_9 = 0;
        } else {
            value_9 = hdr.gradients.values_9;
        }
        if (newer_by != 0) {
            total_9_value = value_9;
            total_9_write.execute(hdr.gradients.slot[8:0]);
        } else {
            total_9_value = total_9_add.execute(hdr.gradients.slot[8:0]);
        }
        hdr.gradients.values_9 = total_9_value;
        // lane 10
        if (newer_by == 0 && part_2 != 0) {
            value_10 = 0;
        } else {
            value_10 = hdr.gradients.values_10;
        }
        if (newer_by != 0) {
            total_10_value = value_10;
            total_10_write.execute(hdr.gradients.slot[8:0]);
        } else {
            total_10_value = total_10_add.execute(hdr.gradients.slot[8:0]);
        }
        hdr.gradients.values_10 = total_10_value;
        // lane 11
        if (newer_by == 0 && part_2 != 0) {
            value_11 = 0;
        } else {
            value_11 = hdr.gradients.values_11;
        }
        if (newer_by != 0) {
            total_11_value = value_11;
            total_11_write.execute(hdr.gradients.slot[8:0]);
        } else {
            total_11_value = total_11_add.execute(hdr.gradients.slot[8:0]);
        }
        hdr.gradients.values_11 = total_11_value;
        // lane 12
        if (newer_by == 0 && part_2 != 0) {
            value_12 = 0;
        } else {
            value_12 = hdr.gradients.values_12;
        }
        if (newer_by != 0) {
            total_12_value = value_12;
            total_12_write.execute(hdr.gradients.slot[8:0]);
        } else {
            total_12_value = total_12_add.execute(hdr.gradients.slot[8:0]);
        }
        hdr.gradients.values_12 = total_12_value;
        // lane 13
        if (newer_by == 0 && part_2 != 0) {
            value_13 = 0;
        } else {
            value_13 = hdr.gradients.values_13;
        }
        if (newer_by != 0) {
            total_13_value = value_13;
            total_13_write.execute(hdr.gradients.slot[8:0]);
        } else {
            total_13_value = total_13_add.execute(hdr.gradients.slot[8:0]);
        }
        hdr.gradients.values_13 = total_13_value;
        // lane 14
        if (newer_by == 0 && part_2 != 0) {
            value_14 = 0;
        } else {
            value_14 = hdr.gradients.values_14;
        }
        if (newer_by != 0) {
            total_14_value = value_14;
            total_14_write.execute(hdr.gradients.slot[8:0]);
        } else {
            total_14_value = total_14_add.execute(hdr.gradients.slot[8:0]);
        }
        hdr.gradients.values_14 = total_14_value;
        // lane 15
        if (newer_by == 0 && part_2 != 0) {
            value_15 = 0;
        } else {
            value_15 = hdr.gradients.values_15;
        }
        if (newer_by != 0) {
            total_15_value = value_15;
            total_15_write.execute(hdr.gradients.slot[8:0]);
        } else {
            total_15_value = total_15_add.execute(hdr.gradients.slot[8:0]);
        }
        hdr.gradients.values_15 = total_15_value;
        // lane 16
        if (newer_by == 0 && part_2 != 0) {
            value_16 = 0;
        } else {
            value_16 = hdr.gradients.values_16;
        }
        if (newer_by != 0) {
            total_16_value = value_16;
            total_16_write.execute(hdr.gradients.slot[8:0]);
        } else {
            total_16_value = total_16_add.execute(hdr.gradients.slot[8:0]);
        }
        hdr.gradients.values_16 = total_16_value;
        // lane 17
        if (newer_by == 0 && part_2 != 0) {
            value_17 = 0;
        } else {
            value_17 = hdr.gradients.values_17;
        }
        if (newer_by != 0) {
            total_17_value = value_17;
            total_17_write.execute(hdr.gradients.slot[8:0]);
        } else {
            total_17_value = total_17_add.execute(hdr.gradients.slot[8:0]);
        }
        hdr.gradients.values_17 = total_17_value;
        // lane 18
        if (newer_by == 0 && part_2 != 0) {
            value_18 = 0;
        } else {
            value_18 = hdr.gradients.values_18;
        }
        if (newer_by != 0) {
            total_18_value = value_18;
            total_18_write.execute(hdr.gradients.slot[8:0]);
        } else {
            total_18_value = total_18_add.execute(hdr.gradients.slot[8:0]);
        }
        hdr.gradients.values_18 = total_18_value;
        // lane 19
        if (newer_by == 0 && part_2 != 0) {
            value_19 = 0;
        } else {
            value_19 = hdr.gradients.values_19;
        }
        if (newer_by != 0) {
            total_19_value = value_19;
            total_19_write.execute(hdr.gradients.slot[8:0]);
        } else {
            total_19_value = total_19_add.execute(hdr.gradients.slot[8:0]);
        }
        hdr.gradients.values_19 = total_19_value;
        // lane 20
        if (newer_by == 0 && part_2 != 0) {
            value_20 = 0;
        } else {
            value_20 = hdr.gradients.values_20;
        }
        if (newer_by != 0) {
            total_20_value = value_20;
            total_20_write.execute(hdr.gradients.slot[8:0]);
        } else {
            total_20_value = total_20_add.execute(hdr.gradients.slot[8:0]);
        }
        hdr.gradients.values_20 = total_20_value;
        // lane 21
        if (newer_by == 0 && part_2 != 0) {
            value_21 = 0;
        } else {
            value_21 = hdr.gradients.values_21;
        }
        if (newer_by != 0) {
            total_21_value = value_21;
            total_21_write.execute(hdr.gradients.slot[8:0]);
        } else {
            total_21_value = total_21_add.execute(hdr.gradients.slot[8:0]);
        }
        hdr.gradients.values_21 = total_21_value;
        // lane 22
        if (newer_by == 0 && part_2 != 0) {
            value_22 = 0;
        } else {
            value_22 = hdr.gradients.values_22;
        }
        if (newer_by != 0) {
            total_22_value = value_22;
            total_22_write.execute(hdr.gradients.slot[8:0]);
        } else {
            total_22_value = total_22_add.execute(hdr.gradients.slot[8:0]);
        }
        hdr.gradients.values_22 = total_22_value;
        // lane 23
        if (newer_by == 0 && part_2 != 0) {
            value_23 = 0;
        } else {
            value_23 = hdr.gradients.values_23;
        }
        if (newer_by != 0) {
            total_23_value = value_23;
            total_23_write.execute(hdr.gradients.slot[8:0]);
        } else {
            total_23_value = total_23_add.execute(hdr.gradients.slot[8:0]);
        }
        hdr.gradients.values_23 = total_23_value;
        // lane 24
        if (newer_by == 0 && part_2 != 0) {
            value_24 = 0;
        } else {
            value_24 = hdr.gradients.values_24;
        }
        if (newer_by != 0) {
            total_24_value = value_24;
            total_24_write.execute(hdr.gradients.slot[8:0]);
        } else {
            total_24_value = total_24_add.execute(hdr.gradients.slot[8:0]);
        }
        hdr.gradients.values_24 = total_24_value;
        // lane 25
        if (newer_by == 0 && part_2 != 0) {
            value_25 = 0;
        } else {
            value_25 = hdr.gradients.values_25;
        }
        if (newer_by != 0) {
            total_25_value = value_25;
            total_25_write.execute(hdr.gradients.slot[8:0]);
        } else {
            total_25_value = total_25_add.execute(hdr.gradients.slot[8:0]);
        }
        hdr.gradients.values_25 = total_25_value;
        // lane 26
        if (newer_by == 0 && part_2 != 0) {
            value_26 = 0;
        } else {
            value_26 = hdr.gradients.values_26;
        }
        if (newer_by != 0) {
            total_26_value = value_26;
            total_26_write.execute(hdr.gradients.slot[8:0]);
        } else {
            total_26_value = total_26_add.execute(hdr.gradients.slot[8:0]);
        }
        hdr.gradients.values_26 = total_26_value;
        // lane 27
        if (newer_by == 0 && part_2 != 0) {
            value_27 = 0;
        } else {
            value_27 = hdr.gradients.values_27;
        }
        if (newer_by != 0) {
            total_27_value = value_27;
            total_27_write.execute(hdr.gradients.slot[8:0]);
        } else {
            total_27_value = total_27_add.execute(hdr.gradients.slot[8:0]);
        }
        hdr.gradients.values_27 = total_27_value;
        // lane 28
        if (newer_by == 0 && part_2 != 0) {
            value_28 = 0;
        } else {
            value_28 = hdr.gradients.values_28;
        }
        if (newer_by != 0) {
            total_28_value = value_28;
            total_28_write.execute(hdr.gradients.slot[8:0]);
        } else {
            total_28_value = total_28_add.execute(hdr.gradients.slot[8:0]);
        }
        hdr.gradients.values_28 = total_28_value;
        // lane 29
        if (newer_by == 0 && part_2 != 0) {
            value_29 = 0;
        } else {
            value_29 = hdr.gradients.values_29;
        }
        if (newer_by != 0) {
            total_29_value = value_29;
            total_29_write.execute(hdr.gradients.slot[8:0]);
        } else {
            total_29_value = total_29_add.execute(hdr.gradients.slot[8:0]);
        }
        hdr.gradients.values_29 = total_29_value;
        // lane 30
        if (newer_by == 0 && part_2 != 0) {
            value_30 = 0;
        } else {
            value_30 = hdr.gradients.values_30;
        }
        if (newer_by != 0) {
            total_30_value = value_30;
            total_30_write.execute(hdr.gradients.slot[8:0]);
        } else {
            total_30_value = total_30_add.execute(hdr.gradients.slot[8:0]);
        }
        hdr.gradients.values_30 = total_30_value;
        // lane 31
        if (newer_by == 0 && part_2 != 0) {
            value_31 = 0;
        } else {
            value_31 = hdr.gradients.values_31;
        }
        if (newer_by != 0) {
            total_31_value = value_31;
            total_31_write.execute(hdr.gradients.slot[8:0]);
        } else {
            total_31_value = total_31_add.execute(hdr.gradients.slot[8:0]);
        }
        hdr.gradients.values_31 = total_31_value;
        compute_flags();
        hdr.gradients.epoch = meta.epoch;
        if (chosen != 15) {
            meta.verdict = DROP;
        } else if (newer_by == 0 && part_2 != 0) {
            meta.verdict = REPLY;
        } else {
            meta.verdict = MULTICAST;
        }
    }
}

control ingress(inout headers_t hdr, inout metadata_t meta, in ingress_intrinsic_metadata_t ig_intr_md,
                in ingress_intrinsic_metadata_from_parser_t ig_prsr_md,
                inout ingress_intrinsic_metadata_for_deparser_t ig_dprsr_md,
                inout ingress_intrinsic_metadata_for_tm_t ig_tm_md) {
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

    // Packets that applications drop, by their place in the program.
    Counter<bit<32>, bit<1>>(1, CounterType_t.PACKETS) dropped;

    action bridge() {
        hdr.bridge.setValid();
        hdr.bridge.origin = BRIDGED;
        hdr.bridge.verdict = (bit<8>)meta.verdict;
        hdr.bridge.reserved = 0;
        hdr.bridge.ingress_port = ig_intr_md.ingress_port;
    }

    gradients_kernel() gradients;

    apply {
        meta.verdict = FORWARD;
        if (hdr.packet_out.isValid()) {
            // From the controller: sent as it is.
            ig_tm_md.ucast_egress_port = (PortId_t)hdr.packet_out.egress_port;
            hdr.packet_out.setInvalid();
            bridge();
        } else if (ig_prsr_md.parser_err != PARSER_ERROR_OK || meta.malformed
                || (meta.checksum_error && hdr.ipv4.ihl == 5)
                || (hdr.midflight.isValid() && hdr.midflight.version != VERSION)) {
            malformed.count(0);
            drop();
        } else {
            if (hdr.midflight.isValid() && (hdr.midflight.kind == REQUEST || hdr.midflight.kind == RESULT_FOR_ALL)) {
                // Before `admission`, so that these do not wait for it: `membership` then follows in the next stage.
                if (hdr.ipv6.isValid()) {
                    meta.sender = hdr.ipv6.source;
                } else {
                    meta.sender = (bit<128>)hdr.ipv4.source;
                }
                if (hdr.gradients.isValid()) {
                    meta.member = (bit<16>)hdr.gradients.worker;
                    meta.job = hdr.gradients.job;
                }
                admission.apply();
                if (meta.refused) {
                    meta.reason = NOT_ADMITTED;
                } else if (meta.token[63:32] != 0) {
                    meta.refused = true;
                    meta.reason = WRONG_TOKEN;
                } else if (meta.token[31:0] != 0) {
                    meta.refused = true;
                    meta.reason = WRONG_TOKEN;
                } else if (meta.colour == RED) {
                    meta.refused = true;
                    meta.reason = TOO_FAST;
                } else {
                    meta.admitted = true;
                    if (meta.bound == 1) {
                        membership.apply();
                    }
                }
            }
            if (meta.refused) {
                refused.count(meta.reason);
            }

            // Compute.
            if (meta.admitted) {
                if (hdr.udp.checksum != 0) {
                    meta.summed = true;
                }
                if (hdr.midflight.kind == RESULT_FOR_ALL) {
                    meta.verdict = MULTICAST;
                } else if (hdr.gradients.isValid()) {
                    gradients.apply(hdr, meta);
                }
            }

            // Act on the verdict.
            if (meta.verdict == DROP) {
                dropped.count(0);
                drop();
            } else if (meta.verdict == REPLY) {
                reply();
                if (hdr.ipv4.isValid()) {
                    reply_ipv4();
                } else {
                    reply_ipv6();
                }
            } else if (meta.verdict == MULTICAST) {
                multicast();
                if (hdr.ipv4.isValid()) {
                    multicast_ipv4();
                } else {
                    multicast_ipv6();
                }
            } else if (hdr.ipv4.isValid() && hdr.ipv4.ihl == 5 && hdr.ipv4.ttl > 1) {
                route.apply();
            } else if (hdr.ipv6.isValid() && hdr.ipv6.hop_limit > 1) {
                route_ipv6.apply();
            } else {
                unreachable();
            }
            if (meta.unroutable) {
                unroutable.count(0);
            }
            bridge();
        }
    }
}

control ingress_deparse(packet_out packet, inout headers_t hdr, in metadata_t meta,
                        in ingress_intrinsic_metadata_for_deparser_t ig_dprsr_md) {
    Checksum() ipv4_checksum;
    Checksum() udp_checksum;

    apply {
        if (hdr.ipv4.isValid()) {
            hdr.ipv4.checksum = ipv4_checksum.update({
                hdr.ipv4.version, hdr.ipv4.ihl, hdr.ipv4.tos, hdr.ipv4.length, hdr.ipv4.identification,
                hdr.ipv4.reserved, hdr.ipv4.dont_fragment, hdr.ipv4.more_fragments, hdr.ipv4.fragment_offset,
                hdr.ipv4.ttl, hdr.ipv4.protocol, hdr.ipv4.source, hdr.ipv4.destination
            });
        }
        if (meta.summed) {
            hdr.udp.checksum = udp_checksum.update({
                hdr.ipv4.source, hdr.ipv4.destination, hdr.ipv6.source, hdr.ipv6.destination, hdr.udp.source,
                hdr.udp.destination, hdr.midflight.version, hdr.midflight.kind, hdr.midflight.application,
                hdr.midflight.sequence, hdr.midflight.token, hdr.gradients.slot, hdr.gradients.worker,
                hdr.gradients.flags, hdr.gradients.job, hdr.gradients.epoch, hdr.gradients.values_0,
                hdr.gradients.values_1, hdr.gradients.values_2, hdr.gradients.values_3, hdr.gradients.values_4,
                hdr.gradients.values_5, hdr.gradients.values_6, hdr.gradients.values_7, hdr.gradients.values_8,
                hdr.gradients.values_9, hdr.gradients.values_10, hdr.gradients.values_11, hdr.gradients.values_12,
                hdr.gradients.values_13, hdr.gradients.values_14, hdr.gradients.values_15, hdr.gradients.values_16,
                hdr.gradients.values_17, hdr.gradients.values_18, hdr.gradients.values_19, hdr.gradients.values_20,
                hdr.gradients.values_21, hdr.gradients.values_22, hdr.gradients.values_23, hdr.gradients.values_24,
                hdr.gradients.values_25, hdr.gradients.values_26, hdr.gradients.values_27, hdr.gradients.values_28,
                hdr.gradients.values_29, hdr.gradients.values_30, hdr.gradients.values_31, meta.rest
            }, true);
        }
        packet.emit(hdr.bridge);
        packet.emit(hdr.ethernet);
        packet.emit(hdr.ipv4);
        packet.emit(hdr.ipv6);
        packet.emit(hdr.udp);
        packet.emit(hdr.midflight);
        packet.emit(hdr.gradients);
    }
}

parser egress_parse(packet_in packet, out egress_headers_t hdr, out egress_metadata_t meta,
                    out egress_intrinsic_metadata_t eg_intr_md) {
    Checksum() udp_checksum;
    bridge_t bridge;

    state start {
        packet.extract(eg_intr_md);
        meta.summed = false;
        meta.rest = 0;
        meta.address = 0;
        meta.address_ipv6 = 0;
        transition parse_bridge;
    }

    state parse_bridge {
        packet.extract(bridge);
        meta.verdict = bridge.verdict[1:0];
        meta.ingress_port = bridge.ingress_port;
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

    state parse_midflight {
        packet.extract(hdr.midflight);
        transition accept;
    }
}

control egress(inout egress_headers_t hdr, inout egress_metadata_t meta,
               in egress_intrinsic_metadata_t eg_intr_md,
               in egress_intrinsic_metadata_from_parser_t eg_prsr_md,
               inout egress_intrinsic_metadata_for_deparser_t eg_dprsr_md,
               inout egress_intrinsic_metadata_for_output_port_t eg_oport_md) {
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
}

control egress_deparse(packet_out packet, inout egress_headers_t hdr, in egress_metadata_t meta,
                       in egress_intrinsic_metadata_for_deparser_t eg_dprsr_md) {
    Checksum() ipv4_checksum;
    Checksum() udp_checksum;

    apply {
        if (hdr.ipv4.isValid()) {
            hdr.ipv4.checksum = ipv4_checksum.update({
                hdr.ipv4.version, hdr.ipv4.ihl, hdr.ipv4.tos, hdr.ipv4.length, hdr.ipv4.identification,
                hdr.ipv4.reserved, hdr.ipv4.dont_fragment, hdr.ipv4.more_fragments, hdr.ipv4.fragment_offset,
                hdr.ipv4.ttl, hdr.ipv4.protocol, hdr.ipv4.source, hdr.ipv4.destination
            });
        }
        if (meta.summed) {
            hdr.udp.checksum = udp_checksum.update({
                hdr.ipv4.source, hdr.ipv4.destination, hdr.ipv6.source, hdr.ipv6.destination, hdr.udp.source,
                hdr.udp.destination, hdr.midflight.version, hdr.midflight.kind, hdr.midflight.application,
                hdr.midflight.sequence, hdr.midflight.token, meta.rest
            }, true);
        }
        packet.emit(hdr.packet_in);
        packet.emit(hdr.ethernet);
        packet.emit(hdr.ipv4);
        packet.emit(hdr.ipv6);
        packet.emit(hdr.udp);
        packet.emit(hdr.midflight);
    }
}

Pipeline(ingress_parse(), ingress(), ingress_deparse(), egress_parse(), egress(), egress_deparse()) pipe;

Switch(pipe) main;

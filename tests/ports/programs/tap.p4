// A bridge by destination address that numbers what it forwards, learns by digests and talks to a controller.

#include <core.p4>
#include <v1model.p4>

const bit<9> CPU_PORT = 510;

@controller_header("packet_in") header packet_in_t { bit<16> ingress_port; }
@controller_header("packet_out") header packet_out_t { bit<16> egress_port; }
header ethernet_t { bit<48> destination; bit<48> source; bit<16> kind; }
header vlan_t { bit<16> tci; bit<16> kind; }
header number_t { bit<32> number; bit<48> time; }

struct headers_t {
    packet_in_t packet_in;
    packet_out_t packet_out;
    ethernet_t ethernet;
    vlan_t vlan;
    number_t number;
}
struct metadata_t { }
struct seen_t { bit<48> source; bit<9> port; }

parser parse(packet_in packet, out headers_t hdr, inout metadata_t meta, inout standard_metadata_t standard_metadata) {
    state start {
        transition select(standard_metadata.ingress_port) {
            CPU_PORT: parse_packet_out;
            default: parse_ethernet;
        }
    }
    state parse_packet_out { packet.extract(hdr.packet_out); transition parse_ethernet; }
    state parse_ethernet {
        packet.extract(hdr.ethernet);
        transition select(hdr.ethernet.kind) {
            0x8100: parse_vlan;
            0x1234: parse_number;
            default: accept;
        }
    }
    state parse_vlan { packet.extract(hdr.vlan); transition accept; }
    state parse_number { packet.extract(hdr.number); transition accept; }
}

control verify_checksums(inout headers_t hdr, inout metadata_t meta) { apply { } }

control ingress(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t standard_metadata) {
    register<bit<32>>(1) count;

    action send(bit<9> port) { standard_metadata.egress_spec = port; }
    action flood(bit<16> group) { standard_metadata.mcast_grp = group; }
    action tell() { standard_metadata.egress_spec = CPU_PORT; }
    action learn(bit<9> port) {
        standard_metadata.egress_spec = port;
        digest<seen_t>(1, { hdr.ethernet.source, standard_metadata.ingress_port });
    }
    action drop() { mark_to_drop(standard_metadata); }

    table bridge {
        key = { hdr.ethernet.destination: exact; }
        actions = { send; flood; tell; learn; drop; }
        default_action = drop();
        const entries = {
            0x020000000001: send(1);
            0x020000000002: send(2);
            0x020000000003: send(3);
        }
    }
    table spare {
        key = { hdr.ethernet.destination: exact; }
        actions = { send; flood; tell; learn; NoAction; }
        default_action = NoAction();
        size = 1024;
    }

    apply {
        if (hdr.packet_out.isValid()) {
            standard_metadata.egress_spec = (bit<9>)hdr.packet_out.egress_port;
            hdr.packet_out.setInvalid();
        } else {
            if (hdr.number.isValid()) {
                count.read(hdr.number.number, 0);
                hdr.number.number = hdr.number.number + 1;
                count.write(0, hdr.number.number);
                hdr.number.time = standard_metadata.ingress_global_timestamp;
            }
            if (!spare.apply().hit) {
                bridge.apply();
            }
        }
    }
}

control egress(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t standard_metadata) {
    apply {
        if (standard_metadata.egress_port == CPU_PORT) {
            hdr.packet_in.setValid();
            hdr.packet_in.ingress_port = (bit<16>)standard_metadata.ingress_port;
        }
        if (standard_metadata.egress_rid != 0 && standard_metadata.egress_port == standard_metadata.ingress_port) {
            mark_to_drop(standard_metadata);
        }
    }
}

control compute_checksums(inout headers_t hdr, inout metadata_t meta) { apply { } }
control deparse(packet_out packet, in headers_t hdr) {
    apply {
        packet.emit(hdr.packet_in);
        packet.emit(hdr.ethernet);
        packet.emit(hdr.vlan);
        packet.emit(hdr.number);
    }
}
V1Switch(parse(), verify_checksums(), ingress(), egress(), compute_checksums(), deparse()) main;

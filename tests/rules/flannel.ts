import type { Family } from "../../src/net/family.ts";

/**
 * What flanneld (its pkg/trafficmngr/iptables, v0.27) writes for the samples' network and subnet, as iptables-save prints
 * it; the order in its chains is that of its source.
 */
export const FLANNEL_IPTABLES: Readonly<Record<Family, { nat: readonly string[]; filter: readonly string[] }>> = {
  4: {
    nat: [
      '-A POSTROUTING -m comment --comment "flanneld masq" -j FLANNEL-POSTRTG',
      '-A FLANNEL-POSTRTG -m mark --mark 0x4000/0x4000 -m comment --comment "flanneld masq" -j RETURN',
      '-A FLANNEL-POSTRTG -s 10.244.5.0/24 -d 10.244.0.0/16 -m comment --comment "flanneld masq" -j RETURN',
      '-A FLANNEL-POSTRTG -s 10.244.0.0/16 -d 10.244.5.0/24 -m comment --comment "flanneld masq" -j RETURN',
      '-A FLANNEL-POSTRTG ! -s 10.244.0.0/16 -d 10.244.5.0/24 -m comment --comment "flanneld masq" -j RETURN',
      '-A FLANNEL-POSTRTG -s 10.244.0.0/16 ! -d 224.0.0.0/4 -m comment --comment "flanneld masq" -j MASQUERADE --random-fully',
      '-A FLANNEL-POSTRTG ! -s 10.244.0.0/16 -d 10.244.0.0/16 -m comment --comment "flanneld masq" -j MASQUERADE --random-fully',
    ],
    filter: [
      '-A FORWARD -m comment --comment "flanneld forward" -j FLANNEL-FWD',
      '-A FLANNEL-FWD -s 10.244.0.0/16 -m comment --comment "flanneld forward" -j ACCEPT',
      '-A FLANNEL-FWD -d 10.244.0.0/16 -m comment --comment "flanneld forward" -j ACCEPT',
    ],
  },
  6: {
    nat: [
      '-A POSTROUTING -m comment --comment "flanneld masq" -j FLANNEL-POSTRTG',
      '-A FLANNEL-POSTRTG -m mark --mark 0x4000/0x4000 -m comment --comment "flanneld masq" -j RETURN',
      '-A FLANNEL-POSTRTG -s fd00:10:244:5::/64 -d fd00:10:244::/56 -m comment --comment "flanneld masq" -j RETURN',
      '-A FLANNEL-POSTRTG -s fd00:10:244::/56 -d fd00:10:244:5::/64 -m comment --comment "flanneld masq" -j RETURN',
      '-A FLANNEL-POSTRTG ! -s fd00:10:244::/56 -d fd00:10:244:5::/64 -m comment --comment "flanneld masq" -j RETURN',
      '-A FLANNEL-POSTRTG -s fd00:10:244::/56 ! -d ff00::/8 -m comment --comment "flanneld masq" -j MASQUERADE --random-fully',
      '-A FLANNEL-POSTRTG ! -s fd00:10:244::/56 -d fd00:10:244::/56 -m comment --comment "flanneld masq" -j MASQUERADE --random-fully',
    ],
    filter: [
      '-A FORWARD -m comment --comment "flanneld forward" -j FLANNEL-FWD',
      '-A FLANNEL-FWD -s fd00:10:244::/56 -m comment --comment "flanneld forward" -j ACCEPT',
      '-A FLANNEL-FWD -d fd00:10:244::/56 -m comment --comment "flanneld forward" -j ACCEPT',
    ],
  },
};

/**
 * The tables of its nftables mode (pkg/trafficmngr/nftables) as `nft list table` prints them, with the two rules that it
 * has wrong put right: the mark with its mask, and traffic from outside to this node's pods (`daddr` is the subnet, and
 * `saddr` is not the network), as in its iptables mode.
 */
export const FLANNEL_NFTABLES: Readonly<Record<Family, { table: string; postrtg: string[]; forward: string[] }>> = {
  4: {
    table: "ip flannel-ipv4",
    postrtg: [
      "type nat hook postrouting priority srcnat; policy accept;",
      "meta mark & 0x00004000 == 0x00004000 return",
      "ip saddr 10.244.5.0/24 ip daddr 10.244.0.0/16 return",
      "ip saddr 10.244.0.0/16 ip daddr 10.244.5.0/24 return",
      "ip saddr != 10.244.0.0/16 ip daddr 10.244.5.0/24 return",
      "ip saddr 10.244.0.0/16 ip daddr != 224.0.0.0/4 masquerade fully-random",
      "ip saddr != 10.244.0.0/16 ip daddr 10.244.0.0/16 masquerade fully-random",
    ],
    forward: [
      "type filter hook forward priority filter; policy accept;",
      "ip saddr 10.244.0.0/16 accept",
      "ip daddr 10.244.0.0/16 accept",
    ],
  },
  6: {
    table: "ip6 flannel-ipv6",
    postrtg: [
      "type nat hook postrouting priority srcnat; policy accept;",
      "meta mark & 0x00004000 == 0x00004000 return",
      "ip6 saddr fd00:10:244:5::/64 ip6 daddr fd00:10:244::/56 return",
      "ip6 saddr fd00:10:244::/56 ip6 daddr fd00:10:244:5::/64 return",
      "ip6 saddr != fd00:10:244::/56 ip6 daddr fd00:10:244:5::/64 return",
      "ip6 saddr fd00:10:244::/56 ip6 daddr != ff00::/8 masquerade fully-random",
      "ip6 saddr != fd00:10:244::/56 ip6 daddr fd00:10:244::/56 masquerade fully-random",
    ],
    forward: [
      "type filter hook forward priority filter; policy accept;",
      "ip6 saddr fd00:10:244::/56 accept",
      "ip6 daddr fd00:10:244::/56 accept",
    ],
  },
};

/** The same without fully random ports. */
export function plainly(lines: readonly string[]): string[] {
  return lines.map((line) => line.replace(" --random-fully", "").replace(" fully-random", ""));
}

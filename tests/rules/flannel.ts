import type { Family } from "../../src/net/family.ts";
import { type FlannelRules, flannelIptables } from "../support/flannel/iptables.ts";

/** What flanneld writes with iptables for the samples' network and subnet. */
export const FLANNEL_IPTABLES: Readonly<Record<Family, FlannelRules>> = {
  4: flannelIptables(4, "10.244.0.0/16", "10.244.5.0/24"),
  6: flannelIptables(6, "fd00:10:244::/56", "fd00:10:244:5::/64"),
};

/**
 * The tables of flanneld's nftables mode (pkg/trafficmngr/nftables) as `nft list table` prints them, with the two rules that it
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

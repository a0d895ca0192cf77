import type { Family } from "../../../src/net/family.ts";

export interface FlannelRules {
  readonly nat: readonly string[];
  readonly filter: readonly string[];
}

const MULTICAST: Readonly<Record<Family, string>> = { 4: "224.0.0.0/4", 6: "ff00::/8" };

/**
 * What flanneld (its pkg/trafficmngr/iptables, v0.28) writes for a network and this node's subnet, as iptables-save prints
 * it; the order in its chains is that of its source.
 */
export function flannelIptables(family: Family, network: string, subnet: string): FlannelRules {
  const masq = '-m comment --comment "flanneld masq" -j';
  const forward = '-m comment --comment "flanneld forward" -j';
  return {
    nat: [
      `-A POSTROUTING ${masq} FLANNEL-POSTRTG`,
      `-A FLANNEL-POSTRTG -m mark --mark 0x4000/0x4000 ${masq} RETURN`,
      `-A FLANNEL-POSTRTG -s ${subnet} -d ${network} ${masq} RETURN`,
      `-A FLANNEL-POSTRTG -s ${network} -d ${subnet} ${masq} RETURN`,
      `-A FLANNEL-POSTRTG ! -s ${network} -d ${subnet} ${masq} RETURN`,
      `-A FLANNEL-POSTRTG -s ${network} ! -d ${MULTICAST[family]} ${masq} MASQUERADE --random-fully`,
      `-A FLANNEL-POSTRTG ! -s ${network} -d ${network} ${masq} MASQUERADE --random-fully`,
    ],
    filter: [
      `-A FORWARD ${forward} FLANNEL-FWD`,
      `-A FLANNEL-FWD -s ${network} ${forward} ACCEPT`,
      `-A FLANNEL-FWD -d ${network} ${forward} ACCEPT`,
    ],
  };
}

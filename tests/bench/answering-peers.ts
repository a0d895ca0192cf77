import * as v from "valibot";
import { OVERHEAD } from "../../src/desired/vxlan.ts";
import type { TestAgent } from "../support/agent.ts";
import { readEnvironmentFile } from "../support/environment-file.ts";
import type { Overlay } from "../support/overlay.ts";

/** Of the made-up peers: their subnets, and their public addresses. */
const SUBNETS = "10.0.0.0/8";
const PUBLIC = "172.16.0.0/12";

/**
 * One namespace that answers for all made-up peers, through the overlay and beside it, as probes want it. What it costs is
 * counted with whoever sends to it, as a node's own answers to thousands of peers would be.
 */
export async function answerForPeers(overlay: Overlay, number: number): Promise<void> {
  const ns = await overlay.addHost(number);
  const ip = (...words: readonly string[]) => ns.exec(["ip", ...words]);
  const address = `192.0.2.${number}`;
  const vxlan = ["type", "vxlan", "id", "1", "dstport", "8472", "local", address, "dev", "eth0", "nolearning"];
  await ip("link", "add", "vxlan1", "mtu", `${1500 - OVERHEAD[4]}`, ...vxlan);
  await ip("link", "set", "vxlan1", "up");
  // Each peer has a MAC of its own, and the device one: all that comes is taken as if it were the device's.
  const chain = "{ type filter hook ingress device vxlan1 priority 0; meta pkttype set host; }";
  await ns.exec(["nft", `table netdev peers { chain taken ${chain}; }`]);
  for (const [index, { agent, ns: there }] of overlay.nodes.entries()) {
    // Nobody asks the agents themselves, which would have them load what answers.
    const { vtep, mac } = await endOf(agent);
    await ip("neigh", "add", vtep, "lladdr", mac, "dev", "vxlan1", "nud", "permanent");
    await ns.exec(["bridge", "fdb", "add", mac, "dev", "vxlan1", "dst", `192.0.2.${index + 1}`, "self", "permanent"]);
    await ip("route", "add", `${vtep}/24`, "via", vtep, "dev", "vxlan1", "onlink");
    await there.exec(["ip", "route", "add", PUBLIC, "via", address, "dev", "eth0"]);
  }
  // In the main table, where the routes to the agents' own subnets go before it; made last, for what is local is no gateway.
  for (const range of [SUBNETS, PUBLIC]) await ip("route", "add", "local", range, "dev", "lo", "table", "main");
}

const Links = v.tuple([v.object({ address: v.string() })]);

/** The agent's end of the overlay, as what it has made says it. */
async function endOf({ ns, subnetFile }: TestAgent): Promise<{ vtep: string; mac: string }> {
  const subnet = readEnvironmentFile(subnetFile)["FLANNEL_SUBNET"] ?? "";
  const links = v.parse(Links, JSON.parse(await ns.exec(["ip", "-j", "link", "show", "dev", "flannel.1"])));
  return { vtep: subnet.replace(/1\/\d+$/, "0"), mac: links[0].address };
}

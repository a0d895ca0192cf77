import { renameSync, writeFileSync } from "node:fs";
import * as v from "valibot";
import { randomMac } from "../../../src/net/mac.ts";
import { readEnvironmentFile } from "../environment-file.ts";
import type { Netns } from "../netns.ts";
import { addressCommand, deviceOf, firstAddress, linkCommand, peerCommands } from "./entries.ts";
import { flannelIptables } from "./iptables.ts";
import type { FlannelLeases } from "./leases.ts";

const NETWORK = "10.244.0.0/16";
const DEVICE = deviceOf(4);

const Links = v.tuple([
  v.object({
    address: v.string(),
    linkinfo: v.object({
      info_kind: v.string(),
      info_data: v.object({ id: v.number(), link: v.string(), local: v.string(), port: v.number() }),
    }),
  }),
]);
const Addresses = v.array(
  v.object({ addr_info: v.optional(v.array(v.object({ local: v.string(), prefixlen: v.number() })), []) }),
);

export interface FlannelHost {
  readonly ns: Netns;
  readonly name: string;
  readonly publicIP: string;
  readonly subnetFile: string;
}

/**
 * One node as flanneld v0.28 with `--ip-masq` makes it: each step of its start, in its order, on what is there already
 * (main.go, pkg/backend/vxlan, pkg/trafficmngr/iptables). IPv4, VNI 1, iptables-nft. When it stops it leaves everything.
 */
export class Flanneld {
  readonly #host: FlannelHost;
  readonly #leases: FlannelLeases;

  constructor(host: FlannelHost, leases: FlannelLeases) {
    this.#host = host;
    this.#leases = leases;
  }

  /** @throws Error where flanneld would take a device away that is there */
  async start(): Promise<void> {
    const { ns, name, publicIP } = this.#host;
    const mac = await this.#ensureDevice();
    const before = readEnvironmentFile(this.#host.subnetFile);
    const subnet = await this.#leases.acquire(name, { publicIP, mac }, before["FLANNEL_SUBNET"]);
    await this.#ensureAddress(subnet);
    await ns.exec(["ip", "link", "set", DEVICE, "up"]);
    if ((await this.#device())?.address !== mac) throw new Error(`${DEVICE} of ${name} has lost its MAC ${mac}`);
    await this.#ensureRules(subnet);
    this.#writeSubnetFile(subnet);
    await this.follow();
    await this.#leases.complete(name);
  }

  /** Its part as a watcher of leases: makes the entries of all other nodes. */
  async follow(): Promise<void> {
    const { ns, publicIP } = this.#host;
    for (const lease of await this.#leases.all()) {
      if (lease.publicIP === publicIP) continue;
      for (const command of peerCommands(4, lease)) await ns.exec(command.split(" "));
    }
  }

  async #device() {
    const { ns } = this.#host;
    const text = await ns.exec(["ip", "-d", "-j", "link", "show", DEVICE]).catch(() => undefined);
    return text === undefined ? undefined : v.parse(Links, JSON.parse(text))[0];
  }

  /** Makes the device, or keeps one that is as its own would be, whatever the MAC. @returns the MAC */
  async #ensureDevice(): Promise<string> {
    const { ns, name, publicIP } = this.#host;
    const existing = await this.#device();
    if (existing === undefined) {
      const mac = (await this.#leases.storedMac(name)) ?? randomMac();
      await ns.exec(["ip", ...linkCommand(4, { publicIP, mac }).split(" ")]);
    } else {
      const { info_kind, info_data } = existing.linkinfo;
      const found = { kind: info_kind, ...info_data };
      const wanted = { kind: "vxlan", id: 1, link: "eth0", local: publicIP, port: 8472 };
      if (!Bun.deepEquals(found, wanted)) {
        throw new Error(`flanneld would make ${DEVICE} of ${name} anew: ${JSON.stringify({ found, wanted })}`);
      }
    }
    await ns.exec(["tee", `/proc/sys/net/ipv6/conf/${DEVICE}/accept_ra`], "0\n");
    const device = await this.#device();
    if (device === undefined) throw new Error(`${DEVICE} of ${name} was not made`);
    return device.address;
  }

  /** Removes other addresses of the pod network, and adds the subnet's unless it is there. */
  async #ensureAddress(subnet: string): Promise<void> {
    const { ns } = this.#host;
    const found = v.parse(Addresses, JSON.parse(await ns.exec(["ip", "-j", "-4", "address", "show", "dev", DEVICE])));
    const all = found.flatMap(({ addr_info }) => addr_info).map(({ local, prefixlen }) => `${local}/${prefixlen}`);
    const wanted = `${firstAddress(subnet)}/32`;
    for (const other of all.filter((address) => address !== wanted && address.startsWith("10.244."))) {
      await ns.exec(["ip", "address", "delete", other, "dev", DEVICE]);
    }
    if (!all.includes(wanted)) await ns.exec(["ip", ...addressCommand(4, { subnet }).split(" ")]);
  }

  /**
   * Each of its chains is emptied by a command of its own and filled later, in one transaction, in which a jump that is there
   * already is deleted and appended again. So at each of its starts there is a moment without its rules.
   */
  async #ensureRules(subnet: string): Promise<void> {
    const { ns } = this.#host;
    // The other mode's tables go first, if there are any.
    for (const table of ["ip flannel-ipv4", "ip6 flannel-ipv6"]) {
      await ns.exec(["nft", "delete", "table", ...table.split(" ")]).catch(() => undefined);
    }
    const { nat, filter } = flannelIptables(4, NETWORK, subnet);
    for (const [table, chain, rules] of [
      ["nat", "FLANNEL-POSTRTG", nat],
      ["filter", "FLANNEL-FWD", filter],
    ] as const) {
      await ns.exec([
        "sh",
        "-c",
        `iptables-nft -w -t ${table} -N ${chain} 2>&- || iptables-nft -w -t ${table} -F ${chain}`,
      ]);
      const lines: string[] = [];
      for (const rule of rules) {
        const spec = rule.slice("-A ".length);
        const isThere = await ns.exec(["sh", "-c", `iptables-nft -w -t ${table} -C ${spec}`]).then(
          () => true,
          () => false,
        );
        if (isThere) lines.push(`-D ${spec}`);
        lines.push(rule);
      }
      await ns.exec(["iptables-nft-restore", "--noflush", "--wait"], `*${table}\n${lines.join("\n")}\nCOMMIT\n`);
    }
  }

  #writeSubnetFile(subnet: string): void {
    const { subnetFile } = this.#host;
    const gateway = subnet.replace(/0\/24$/, "1/24");
    const lines = [`NETWORK=${NETWORK}`, `SUBNET=${gateway}`, "MTU=1450", "IPMASQ=true"];
    writeFileSync(`${subnetFile}.new`, lines.map((line) => `FLANNEL_${line}\n`).join(""));
    renameSync(`${subnetFile}.new`, subnetFile);
  }
}

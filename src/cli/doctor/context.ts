import { join } from "node:path";
import { chooseExternalInterface, type WantedInterface } from "../../config/choose-interface.ts";
import type { ExternalInterface } from "../../config/interface.ts";
import type { NetworkConfig } from "../../config/network.ts";
import { parseSubnetFile } from "../../config/subnet-env.ts";
import { type Address, parseAddress } from "../../net/address.ts";
import { familiesOf, mapFamilies, type PerFamily } from "../../net/family.ts";
import { type Prefix, parsePrefix } from "../../net/prefix.ts";
import { NotApplicable } from "./check.ts";
import { inContainer, readIfThere } from "./files.ts";
import { type KernelFeatures, readFeatures } from "./kernel-features.ts";
import { type KernelPicture, readPicture } from "./kernel-picture.ts";
import { type KnownNetwork, networkFromAgent, readNetwork } from "./network.ts";
import type { DoctorOptions } from "./options.ts";
import { PacketFilters } from "./packet-filters.ts";
import type { Settings } from "./settings.ts";
import { readSources, type SourceFacts } from "./sources.ts";

/** What the checks share: each part is gathered when the first check asks for it. */
export class Context {
  readonly settings: Settings;
  readonly options: DoctorOptions;
  /** ends with the time for the checks */
  readonly signal: AbortSignal;
  readonly #memory = new Map<string, unknown>();

  constructor(settings: Settings, options: DoctorOptions, signal: AbortSignal) {
    this.settings = settings;
    this.options = options;
    this.signal = signal;
  }

  /** Where a path of the host is. */
  hostPath(path: string): string {
    const root = this.options["host-root"];
    return root === undefined ? path : join(root, path);
  }

  /** Whether files of the host are not to be seen unless they are mounted. */
  get isApart(): boolean {
    return this.#once("apart", () => this.options["host-root"] === undefined && inContainer(process.env));
  }

  /** Of the agent: what it sees; undefined if none answers. */
  get agent() {
    return this.settings.answer.view;
  }

  /** An agent is at work here, whether or not it answers. */
  get isAgentHere(): boolean {
    return this.agent !== undefined || this.settings.agents.length > 0;
  }

  /** @throws Error if libnl is missing, KernelError */
  kernel(): KernelPicture {
    return this.#once("kernel", () => readPicture(this.settings.flags.canReach));
  }

  features(): KernelFeatures {
    return this.#once("features", () => readFeatures(this.hostPath("/")));
  }

  packetFilters(): PacketFilters {
    return this.#once("packetFilters", () => new PacketFilters(this.features()));
  }

  /** What the lease source's servers answer. */
  sources(): Promise<SourceFacts> {
    return this.#once("sources", () => readSources(this.settings, this.signal));
  }

  /** @throws Error that says why there is none */
  readNetwork(): Promise<KnownNetwork> {
    return this.#once("network", () => readNetwork(this));
  }

  /** The network's configuration, if need be as the agent knows it. @throws NotApplicable */
  async network(): Promise<NetworkConfig> {
    try {
      return (await this.readNetwork()).config;
    } catch (cause) {
      const told = this.agent && networkFromAgent(this.agent);
      if (told !== undefined) return told;
      throw new NotApplicable("the network's configuration is not known, see network-config", { cause });
    }
  }

  /** The interface that carries the traffic between nodes. @throws NotApplicable */
  async external(): Promise<ExternalInterface> {
    const network = await this.network();
    try {
      return this.chooseExternal(network);
    } catch (cause) {
      throw new NotApplicable("the external interface is not known, see external-interface", { cause });
    }
  }

  /** @throws NoInterfaceError, KernelError */
  chooseExternal({ ranges }: NetworkConfig): ExternalInterface {
    const told = this.agent?.externalInterface;
    const { inventory } = this.kernel();
    const found = told && inventory.interfaces.find(({ index, name }) => index === told.index && name === told.name);
    if (told && found) {
      const [addresses, publicIPs] = [told.addresses, told.publicIPs].map(perFamily);
      return {
        index: told.index,
        name: told.name,
        mtu: found.mtu,
        addresses: addresses ?? {},
        publicIPs: publicIPs ?? {},
      };
    }
    return chooseExternalInterface(inventory, this.#wantedInterface(), familiesOf(ranges));
  }

  /** As the flags have it; where nobody knows them, as the agent that was here last had it. */
  #wantedInterface(): WantedInterface {
    const { flags, leaseSource } = this.settings;
    const isGiven = flags.iface.length + flags.ifaceRegex.length + familiesOf(flags.publicIPs).length > 0;
    if (isGiven || flags.canReach !== undefined || leaseSource !== undefined || this.isAgentHere) return flags;
    const { ownDevices, inventory } = this.kernel();
    const here = new Set(inventory.interfaces.flatMap(({ addresses }) => addresses.map(({ address }) => address)));
    const sources = ownDevices.flatMap(({ vxlan }) => vxlan?.local ?? []);
    return { ...flags, iface: sources.filter((source) => here.has(source)) };
  }

  /** This node's own subnets, from the agent or from subnet.env. */
  get subnets(): PerFamily<Prefix> {
    return this.#once("subnets", () => {
      const { ipv4, ipv6 } = this.agent?.lease ?? {};
      const told = mapFamilies({ 4: ipv4?.subnet ?? "", 6: ipv6?.subnet ?? "" }, parsePrefix);
      if (familiesOf(told).length > 0) return told;
      const path = this.hostPath(this.settings.flags.subnetFile);
      return attempt(() => parseSubnetFile(readIfThere(path) ?? "")) ?? {};
    });
  }

  #once<T>(name: string, make: () => T): T {
    if (!this.#memory.has(name)) this.#memory.set(name, make());
    // What stands under a name is what its only maker made.
    return this.#memory.get(name) as T;
  }
}

function perFamily(texts: readonly string[]): PerFamily<Address> {
  const found: PerFamily<Address> = {};
  for (const text of texts) {
    const address = parseAddress(text);
    if (address !== undefined) found[address.includes(":") ? 6 : 4] = address;
  }
  return found;
}

function attempt<T>(action: () => T): T | undefined {
  try {
    return action();
  } catch {
    return undefined;
  }
}

import type { Nfnetlink, NftChain } from "../ffi/nfnetlink.ts";
import type { NftablesWatch } from "../ffi/nftables-watch.ts";
import { type Family, familiesOf, type PerFamily } from "../net/family.ts";
import type { Backend, FamilyReport } from "./backend.ts";
import { blockers } from "./blockers.ts";
import type { CommandOptions } from "./command.ts";
import { desiredRules, type FamilyRules, type RulesInput } from "./desired.ts";
import { type Host, thisHost } from "./host.ts";
import { IptablesBackend } from "./iptables.ts";
import { chooseKind, findIptables, type Iptables, usageOf } from "./iptables-programs.ts";
import { type BackendName, type RulesInKernel, removeLeftovers, rulesInKernel } from "./leftovers.ts";
import { LegacyState } from "./legacy-state.ts";
import { NftablesBackend } from "./nftables.ts";

export type { BackendName } from "./leftovers.ts";

export type RulesMode = "iptables" | "nftables";

export interface FilterReport {
  readonly families: PerFamily<FamilyReport>;
  /** the packet filter's `stateSign` with which all was right */
  readonly sign: string | undefined;
  /** rules that were somewhere else and are gone */
  readonly removed: readonly string[];
  /** rules somewhere else that could not be removed */
  readonly leftovers: readonly Error[];
  /** what may keep traffic of pods from going through in spite of our rules */
  readonly warnings: readonly string[];
}

/** bridged packets pass through iptables only with this module (flanneld insists on it, too) */
const BRIDGE_CALLS: Readonly<Record<Family, string>> = {
  4: "/proc/sys/net/bridge/bridge-nf-call-iptables",
  6: "/proc/sys/net/bridge/bridge-nf-call-ip6tables",
};

/** The rules of this node, by whatever the host has for them. Opened at first use, tried again after a failure. */
export class PacketFilter implements Disposable {
  readonly #mode: RulesMode;
  readonly #host: Host;
  readonly #legacy: LegacyState;
  #nfnetlink: Nfnetlink | undefined;
  #iptables: readonly Iptables[] | undefined;
  #backend: Backend | undefined;
  #watch: NftablesWatch | undefined;
  /** that have rules */
  #families: readonly Family[] = [];
  #forwards = false;
  /** nf_tables' chains, and the generation that they are of */
  #chains: { readonly generation: number; readonly chains: readonly NftChain[] } | undefined;
  /** as it was when it was last asked for */
  #lastSign: string | undefined;
  #cleaned = false;
  #forks = 0;

  constructor(mode: RulesMode, host: Host = thisHost) {
    this.#mode = mode;
    const run = (command: readonly string[], options?: CommandOptions) => {
      this.#forks++;
      return host.run(command, options);
    };
    this.#host = { ...host, run };
    this.#legacy = new LegacyState((family) => host.openLegacyTables(family));
  }

  /** What the rules are written by; undefined as long as there were none to write. */
  get backend(): Backend | undefined {
    return this.#backend;
  }

  /** processes started so far */
  get forks(): number {
    return this.#forks;
  }

  /** Whether nf_tables' counter tells of changes: then `stateSign` costs microseconds. */
  get hasCounter(): boolean {
    return this.#backend !== undefined && this.#backend.name !== "iptables-legacy";
  }

  /**
   * From now on the next change is told once, where there is a counter; what came before is in `stateSign`.
   * @throws KernelError
   */
  watch(onChange: () => void): void {
    if (!this.hasCounter) return;
    if (this.#watch === undefined || this.#watch.isBroken) {
      this.#watch?.[Symbol.dispose]();
      this.#watch = this.#host.watchNftables(onChange);
    }
    this.#watch.arm();
  }

  /** A text that is another one after any change of the rules where ours are. Costs no fork. @throws KernelError */
  stateSign(): string {
    this.#lastSign = this.hasCounter
      ? `generation ${this.#netlink().generation()}`
      : this.#legacy.fingerprint(this.#families);
    return this.#lastSign;
  }

  /** Where rules of ours, or of a flanneld, are. Costs no fork. @throws KernelError */
  present(): RulesInKernel {
    return rulesInKernel(this.#netlink(), this.#legacy);
  }

  /** What the host lacks for the rules to act as they should. */
  missing(families: readonly Family[]): string[] {
    if (this.#mode !== "iptables") return [];
    return families
      .map((family) => BRIDGE_CALLS[family])
      .filter((path) => this.#host.read(path) === undefined)
      .map(
        (path) =>
          `${path} is missing, so packets between pods of this node pass the rules by: load the module (modprobe ` +
          "br_netfilter), or set EnableNFTables to true in the network's configuration",
      );
  }

  /**
   * Finds and mends what is not as it should be, and removes rules of ours that are elsewhere.
   * @param input `randomFully`: if it can be had
   * @throws Error if the host has nothing to write rules by
   */
  async keep(input: RulesInput, signal: AbortSignal): Promise<FilterReport> {
    const wantsRules = input.masquerade || input.forward;
    const backend = wantsRules ? await this.#openBackend(signal) : undefined;
    const wanted = rulesBy(backend, input);
    const families = familiesOf(wanted);
    this.#families = families;
    this.#forwards = input.forward;
    // The counter is cheap. Legacy tables are long: their sign is that of the last look; after a write it leads to one
    // more check.
    const once = backend === undefined || this.hasCounter ? undefined : (this.#lastSign ?? this.stateSign());
    const sign = () => once ?? this.stateSign();
    const reports = (await backend?.ensure(wanted, signal, sign)) ?? {};
    // New rules first, then the old ones: at no time there are none.
    const failed = families.some((family) => reports[family]?.error !== undefined);
    const cleaning = failed || this.#cleaned ? undefined : await this.#clean(backend, families, signal);
    if (cleaning?.errors.length === 0) this.#cleaned = true;
    const signs = new Set(families.map((family) => reports[family]?.sign));
    return {
      families: reports,
      sign: signs.size === 1 ? [...signs][0] : undefined,
      removed: cleaning?.removed ?? [],
      leftovers: cleaning?.errors ?? [],
      warnings: this.warnings(),
    };
  }

  /**
   * As in the report. They also follow from packet filters that `stateSign` says nothing of: legacy iptables' beside rules
   * in nf_tables, and the other way round. Costs no fork.
   * @throws KernelError
   */
  warnings(): string[] {
    return [...this.#passedBy(), ...this.#blocked()];
  }

  /** The module is there, but somebody turned it off. */
  #passedBy(): string[] {
    if (this.#mode !== "iptables") return [];
    return this.#families
      .map((family) => BRIDGE_CALLS[family])
      .filter((path) => this.#host.read(path)?.trim() === "0")
      .map(
        (path) =>
          `${path} is 0, so packets between pods of this node pass the rules by, and Services may not work for them: ` +
          `set it to 1 (sysctl -w ${path.replace("/proc/sys/", "").replaceAll("/", ".")}=1)`,
      );
  }

  #blocked(): string[] {
    if (!this.#forwards || this.#backend === undefined) return [];
    const { name } = this.#backend;
    // Its own tables don't count, and may be long.
    const dropping = name === "iptables-legacy" ? [] : this.#legacy.droppingFamilies();
    return blockers(this.#nftChains(), dropping, this.#families, name);
  }

  /** Ten thousand of kube-proxy's take milliseconds: they are read again only after a change. */
  #nftChains(): readonly NftChain[] {
    const generation = this.#netlink().generation();
    if (generation === undefined) return [];
    if (this.#chains?.generation !== generation) this.#chains = { generation, chains: this.#netlink().chains() };
    return this.#chains.chains;
  }

  async #openBackend(signal: AbortSignal): Promise<Backend> {
    this.#backend ??=
      this.#mode === "nftables" ? this.#openNftables() : this.#openIptables(await this.#chooseIptables(signal));
    return this.#backend;
  }

  #openNftables(): NftablesBackend {
    try {
      return new NftablesBackend(this.#host.openNftables(), this.#netlink());
    } catch (cause) {
      throw new Error(
        "EnableNFTables is set, but the rules can't be made by nftables; to make them by iptables, set EnableNFTables to false",
        { cause },
      );
    }
  }

  #openIptables(iptables: Iptables): IptablesBackend {
    return new IptablesBackend(iptables, this.#host, this.#netlink(), this.#legacy);
  }

  async #chooseIptables(signal: AbortSignal): Promise<Iptables> {
    const found = await this.#findIptables(signal);
    const usage = await usageOf(this.#host, found, this.#netlink().chains(), this.#legacy, signal);
    const kind = chooseKind(
      found.map((one) => one.kind),
      usage,
    );
    const chosen = found.find((one) => one.kind === kind);
    if (chosen === undefined) throw new Error("no kind of iptables can be used");
    return chosen;
  }

  async #findIptables(signal: AbortSignal): Promise<readonly Iptables[]> {
    this.#iptables ??= await findIptables(this.#host, signal);
    return this.#iptables;
  }

  async #clean(
    kept: Backend | undefined,
    families: readonly Family[],
    signal: AbortSignal,
  ): Promise<{ removed: string[]; errors: Error[] }> {
    const found = this.present();
    const isElsewhere = (name: BackendName) =>
      name.startsWith("iptables") && found[name].length > 0 && name !== kept?.name;
    let iptables: readonly Iptables[] = [];
    if (isElsewhere("iptables-nft") || isElsewhere("iptables-legacy")) {
      // Without any, opening one below says so.
      iptables = await this.#findIptables(signal).catch(() => []);
    }
    const open = (name: BackendName) => {
      if (name === kept?.name) return { backend: kept, close() {} };
      const backend = name === "nftables" ? this.#openNftables() : this.#openIptables(programsFor(name, iptables));
      return { backend, close: () => backend[Symbol.dispose]() };
    };
    return removeLeftovers(found, { name: kept?.name, families }, open, signal);
  }

  #netlink(): Nfnetlink {
    this.#nfnetlink ??= this.#host.openNfnetlink();
    return this.#nfnetlink;
  }

  [Symbol.dispose](): void {
    this.#watch?.[Symbol.dispose]();
    this.#backend?.[Symbol.dispose]();
    this.#nfnetlink?.[Symbol.dispose]();
    this.#legacy[Symbol.dispose]();
  }
}

function programsFor(name: BackendName, found: readonly Iptables[]): Iptables {
  const iptables = found.find(({ kind }) => `iptables-${kind}` === name);
  if (iptables === undefined) throw new Error(`${name} is not on the PATH: install it (Debian: apt install iptables)`);
  return iptables;
}

/** What follows from the input where rules are written by this: random ports only if they can be had. */
export function rulesBy(backend: Pick<Backend, "randomFully"> | undefined, input: RulesInput): PerFamily<FamilyRules> {
  return desiredRules({ ...input, randomFully: input.randomFully && backend?.randomFully === true });
}

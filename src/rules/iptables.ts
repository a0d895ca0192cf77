import type { Nfnetlink } from "../ffi/nfnetlink.ts";
import { FAMILIES, type Family, type PerFamily } from "../net/family.ts";
import type { Backend, FamilyReport } from "./backend.ts";
import { commandError } from "./command.ts";
import type { FamilyRules, Part } from "./desired.ts";
import type { Host } from "./host.ts";
import { diffIptables, type IptablesChange } from "./iptables-diff.ts";
import { hasRandomFully, type Iptables, type Programs } from "./iptables-programs.ts";
import { type IptablesActual, type IptablesPlace, PLACES, parseListing } from "./iptables-text.ts";
import type { LegacyState } from "./legacy-state.ts";

/** How long iptables waits for the lock, in seconds (xtables.lock; only legacy iptables has one). */
const LOCK_WAIT = "5";

const NFT_FAMILY: Readonly<Record<Family, string>> = { 4: "ip", 6: "ip6" };

/** Rules by iptables and iptables-restore. */
export class IptablesBackend implements Backend {
  readonly mode = "iptables";
  readonly name: string;
  readonly version: string;
  readonly randomFully: boolean;
  readonly #iptables: Iptables;
  readonly #host: Host;
  readonly #nfnetlink: Nfnetlink;
  readonly #legacy: LegacyState;

  constructor(iptables: Iptables, host: Host, nfnetlink: Nfnetlink, legacy: LegacyState) {
    this.name = `iptables-${iptables.kind}`;
    this.version = iptables.version;
    this.randomFully = hasRandomFully(iptables.version);
    this.#iptables = iptables;
    this.#host = host;
    this.#nfnetlink = nfnetlink;
    this.#legacy = legacy;
  }

  async ensure(
    wanted: PerFamily<FamilyRules>,
    signal: AbortSignal,
    sign: () => string | undefined = () => undefined,
  ): Promise<PerFamily<FamilyReport>> {
    const reports: PerFamily<FamilyReport> = {};
    await Promise.all(
      FAMILIES.map(async (family) => {
        const rules = wanted[family];
        if (rules !== undefined) reports[family] = await this.#ensureFamily(family, rules, signal, sign);
      }),
    );
    return reports;
  }

  async #ensureFamily(
    family: Family,
    wanted: FamilyRules,
    signal: AbortSignal,
    sign: () => string | undefined,
  ): Promise<FamilyReport> {
    try {
      const before = sign();
      const programs = this.#programs(family);
      const change = diffIptables(wanted, await this.#read(family, programs, signal));
      if (change === undefined) return { mended: {}, sign: before };
      const started = performance.now();
      await this.#write(programs, change, signal);
      const after = sign();
      const left = diffIptables(wanted, await this.#read(family, programs, signal));
      if (left !== undefined) {
        const what = Object.keys(left.deviations).join(", ");
        throw new Error(
          `${programs.restore} was content, but the rules are not as they were written (${what}): another program writes ` +
            `to flannel's chains; if a flanneld runs on this node, stop it`,
        );
      }
      return { mended: change.deviations, writeMs: performance.now() - started, sign: after };
    } catch (error) {
      return { mended: {}, error: error instanceof Error ? error : new Error(String(error)) };
    }
  }

  #programs(family: Family): Programs {
    const programs = this.#iptables.programs[family];
    if (programs !== undefined) return programs;
    const name = family === 4 ? "iptables" : "ip6tables";
    throw new Error(
      `${name}-${this.#iptables.kind} is not on the PATH, so the IPv${family} rules can't be made: install it (Debian: apt ` +
        "install iptables)",
    );
  }

  /** Legacy iptables gets whole tables from the kernel anyway; with nft, a chain alone is faster by far among many. */
  async #read(family: Family, programs: Programs, signal: AbortSignal): Promise<Record<Part, IptablesActual>> {
    const { kind } = this.#iptables;
    const read = (part: Part) =>
      kind === "legacy"
        ? this.#readTable(family, programs, PLACES[part], signal)
        : this.#readChains(family, programs, PLACES[part], signal);
    const [masquerade, forward] = await Promise.all([read("masquerade"), read("forward")]);
    return { masquerade, forward };
  }

  async #readTable(
    family: Family,
    { save }: Programs,
    place: IptablesPlace,
    signal: AbortSignal,
  ): Promise<IptablesActual> {
    // To list a table that is not there would make it.
    const present = this.#legacy.tables(family).includes(place.table);
    return parseListing(present ? await this.#output([save, "-t", place.table], signal) : "", place);
  }

  async #readChains(
    family: Family,
    { iptables }: Programs,
    place: IptablesPlace,
    signal: AbortSignal,
  ): Promise<IptablesActual> {
    const command = (chain: string) => [iptables, "-w", LOCK_WAIT, "-t", place.table, "-S", chain];
    const [rules, jumps] = await Promise.all([
      this.#host.run(command(place.chain), { signal }),
      this.#output(command(place.hook), signal),
    ]);
    if (rules.code === 0) return parseListing(`${rules.stdout}\n${jumps}`, place);
    const inKernel = this.#nfnetlink
      .chains()
      .some(
        (chain) => chain.family === NFT_FAMILY[family] && chain.table === place.table && chain.name === place.chain,
      );
    // A chain that iptables can't print has rules in it that iptables did not write, certainly not ours.
    return { ...parseListing(jumps, place), rules: inKernel ? ["unreadable"] : undefined };
  }

  async #write({ restore }: Programs, { input, kept }: IptablesChange, signal: AbortSignal): Promise<void> {
    const command = [restore, "-w", LOCK_WAIT, "--noflush"];
    // Each table is committed by itself. What the second one would be refused for must not leave the first one changed.
    if (kept > 1) await this.#output([...command, "--test"], signal, input);
    await this.#output(command, signal, input);
  }

  async #output(command: readonly string[], signal: AbortSignal, input = ""): Promise<string> {
    const result = await this.#host.run(command, { signal, input });
    if (result.code !== 0) throw commandError(command, result);
    return result.stdout;
  }

  /** Holds nothing. */
  [Symbol.dispose](): void {}
}

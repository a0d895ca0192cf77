import { RulesKeeper } from "../../src/agent/rules-keeper.ts";
import { inNetworkNamespace } from "../../src/ffi/libc.ts";
import { Nftables } from "../../src/ffi/libnftables.ts";
import { Nfnetlink } from "../../src/ffi/nfnetlink.ts";
import { NftablesWatch } from "../../src/ffi/nftables-watch.ts";
import { LegacyTables } from "../../src/ffi/xtables.ts";
import { FAMILIES, type Family, type PerFamily } from "../../src/net/family.ts";
import type { Prefix } from "../../src/net/prefix.ts";
import { runCommand } from "../../src/rules/command.ts";
import { type Host, thisHost } from "../../src/rules/host.ts";
import { EventLog } from "../../src/status/event-log.ts";
import type { RulesFacts } from "../../src/status/facts.ts";
import { Netns } from "../support/netns.ts";
import { TemporaryFolder } from "../support/temp.ts";
import { eventually } from "../support/wait.ts";
import { NETWORKS, networkOf, pick, SUBNETS } from "./samples.ts";

/** How the rules are made: by which iptables, or by nftables. */
export type Means = "nft" | "legacy" | "nftables";

export const MEANS: readonly Means[] = ["nft", "legacy", "nftables"];

/** A network namespace with packet filters of its own, as a host with only one kind of iptables would have them. */
export class FilterHost implements Disposable {
  readonly ns = new Netns();
  readonly folder = new TemporaryFolder();
  /** of this host alone: the real one is the machine's */
  readonly lock = this.folder.at("xtables.lock");

  /** @param programs which of iptables' programs are on the PATH */
  host(programs: (name: string) => boolean, read: Host["read"] = thisHost.read): Host {
    const { path } = this.ns;
    class TablesHere extends LegacyTables {
      override names(): string[] {
        return inNetworkNamespace(path, () => super.names());
      }
    }
    return {
      run: (command, options) => runCommand(this.#command(command), options),
      which: (name) => (programs(name) ? (Bun.which(name) ?? undefined) : undefined),
      read,
      openNfnetlink: () => inNetworkNamespace(path, () => new Nfnetlink()),
      watchNftables: (onChange) => inNetworkNamespace(path, () => new NftablesWatch(onChange)),
      openNftables: () => inNetworkNamespace(path, () => new Nftables()),
      openLegacyTables: (family) => inNetworkNamespace(path, () => new TablesHere(family)),
    };
  }

  #command(command: readonly string[]): string[] {
    return this.ns.command(["env", `XTABLES_LOCKFILE=${this.lock}`, ...command]);
  }

  /** Runs a shell line. @returns what it wrote to stdout */
  sh(line: string, input = ""): Promise<string> {
    return this.ns.exec(["env", `XTABLES_LOCKFILE=${this.lock}`, "bash", "-ec", line], input);
  }

  /** The rules of a table of iptables; without those of others if `chains` says so. */
  async saved(means: "nft" | "legacy", family: Family, table: string): Promise<string[]> {
    const text = await this.sh(`${family === 4 ? "iptables" : "ip6tables"}-${means}-save -t ${table}`);
    return text.split("\n").filter((line) => line.startsWith("-A "));
  }

  async table(name: string): Promise<string> {
    return this.sh(`nft list table ${name}`);
  }

  [Symbol.dispose](): void {
    this.ns[Symbol.dispose]();
    this.folder[Symbol.dispose]();
  }
}

export interface Wanted {
  readonly ipMasq?: boolean;
  readonly randomFully?: boolean;
  readonly forward?: boolean;
  readonly resyncSeconds?: number;
  readonly networks?: PerFamily<Prefix>;
  readonly subnets?: PerFamily<Prefix>;
  readonly families?: readonly Family[];
  readonly host?: Host;
}

/** The agent's keeper of the rules, in this process, for a namespace. */
export class TestKeeper {
  readonly keeper: RulesKeeper;
  readonly means: Means;
  readonly events = new EventLog();
  readonly #wanted: Wanted;
  changes = 0;

  constructor(on: FilterHost, means: Means, wanted: Wanted = {}) {
    const { ipMasq = true, randomFully = true, forward = true, resyncSeconds = 5 } = wanted;
    this.means = means;
    this.#wanted = wanted;
    const programs = (name: string) => means === "nftables" || name.includes(`-${means}`);
    this.keeper = new RulesKeeper({
      flags: { ipMasq, ipMasqRandomFully: randomFully, forwardRules: forward, rulesResyncSeconds: resyncSeconds },
      events: this.events,
      onChange: () => this.changes++,
      host: wanted.host ?? on.host(programs),
    });
  }

  want(networks?: PerFamily<Prefix>, subnets?: PerFamily<Prefix>): void {
    const families = this.#wanted.families ?? FAMILIES;
    const own = subnets ?? this.#wanted.subnets ?? pick(SUBNETS, families);
    const network = networkOf(networks ?? this.#wanted.networks ?? pick(NETWORKS, families), this.means === "nftables");
    this.keeper.want(network, { subnets: own });
  }

  /** Has the rules made, and waits until they were found to be right. */
  async start(): Promise<void> {
    this.want();
    await this.settled();
  }

  async settled(within = 30_000): Promise<void> {
    await eventually(() => this.keeper.facts().checks > 0 && this.keeper.problems().length === 0, {
      within,
      what: "the rules are in place",
    }).catch((cause: unknown) => {
      throw new Error(`problems: ${this.keeper.problems().join("; ")}`, { cause });
    });
  }

  /** Waits until the packet filter was asked for changes several times and there were none. */
  async quiet(): Promise<RulesFacts> {
    let seen = this.facts();
    return eventually(
      () => {
        const now = this.facts();
        if (now.checks !== seen.checks) seen = now;
        return now.looks >= seen.looks + 3 ? now : undefined;
      },
      { within: 30_000, what: "nothing changes any more" },
    );
  }

  facts(): RulesFacts {
    return this.keeper.facts();
  }

  stop(): Promise<void> {
    return this.keeper.stop();
  }
}

import type { NftChain } from "../ffi/nfnetlink.ts";
import { FAMILIES, type Family, type PerFamily } from "../net/family.ts";
import { commandError } from "./command.ts";
import type { Host } from "./host.ts";
import type { LegacyState } from "./legacy-state.ts";

/** The two ways in which iptables reaches the kernel. */
export type IptablesKind = "legacy" | "nft";

export interface Programs {
  readonly iptables: string;
  readonly save: string;
  readonly restore: string;
}

/** One kind of iptables, as this host has it. */
export interface Iptables {
  readonly kind: IptablesKind;
  /** `1.8.9` */
  readonly version: string;
  readonly programs: PerFamily<Programs>;
}

const KINDS: readonly IptablesKind[] = ["nft", "legacy"];
const BASE: Readonly<Record<Family, string>> = { 4: "iptables", 6: "ip6tables" };
const TABLES = ["filter", "nat", "mangle", "raw", "security"];
/** Chains that kubelet makes for others to see which kind the host uses (kubernetes/enhancements, KEP 3178). */
const HINTS = ["KUBE-IPTABLES-HINT", "KUBE-KUBELET-CANARY"];

/** The version that `--version` prints: `iptables v1.8.9 (nf_tables)`; before 1.8 there was legacy only. */
function parseVersion(text: string): { version: string; kind: IptablesKind } | undefined {
  const match = /\bv(\d+\.\d+\.\d+)(?: \((legacy|nf_tables)\))?/.exec(text);
  return match?.[1] === undefined
    ? undefined
    : { version: match[1], kind: match[2] === "nf_tables" ? "nft" : "legacy" };
}

/** MASQUERADE has `--random-fully` since 1.6.2. */
export function hasRandomFully(version: string): boolean {
  const [major = 0, minor = 0, patch = 0] = version.split(".").map(Number);
  return major !== 1 ? major > 1 : minor !== 6 ? minor > 6 : patch >= 2;
}

/**
 * Every kind of iptables that is on the PATH, the host's default first.
 * @throws Error if there is none
 */
export async function findIptables(host: Host, signal?: AbortSignal): Promise<Iptables[]> {
  const plain = await versionOf(host, BASE[4], signal);
  const kinds = [...KINDS].sort((a, b) => Number(b === plain?.kind) - Number(a === plain?.kind));
  const found: Iptables[] = [];
  for (const kind of kinds) {
    const programs: PerFamily<Programs> = {};
    for (const family of FAMILIES) {
      const named = programsOf(host, `${BASE[family]}-${kind}`);
      const any = named ?? (plain?.kind === kind ? programsOf(host, BASE[family]) : undefined);
      if (any !== undefined) programs[family] = any;
    }
    const program = programs[4]?.iptables ?? programs[6]?.iptables;
    if (program === undefined) continue;
    const version = plain?.kind === kind ? plain.version : (await versionOf(host, program, signal))?.version;
    if (version !== undefined) found.push({ kind, version, programs });
  }
  if (found.length > 0) return found;
  throw new Error(
    "no iptables program is on the PATH, so the rules can't be made: install it (Debian: apt install iptables), or set " +
      "EnableNFTables to true in the network's configuration, or turn --ip-masq and --iptables-forward-rules off",
  );
}

function programsOf(host: Host, name: string): Programs | undefined {
  const programs = { iptables: name, save: `${name}-save`, restore: `${name}-restore` };
  return Object.values(programs).every((program) => host.which(program) !== undefined) ? programs : undefined;
}

async function versionOf(host: Host, program: string, signal?: AbortSignal): ReturnType<typeof parseVersionOf> {
  return host.which(program) === undefined ? undefined : parseVersionOf(host, program, signal);
}

async function parseVersionOf(host: Host, program: string, signal?: AbortSignal) {
  const command = [program, "--version"];
  const result = await host.run(command, signal && { signal });
  if (result.code !== 0) throw commandError(command, result);
  return parseVersion(result.stdout);
}

/** What the choice between the kinds needs to know of the host. */
export interface Usage {
  /** the kinds that have kubelet's hint */
  readonly hinted: readonly IptablesKind[];
  /** rules of others */
  readonly rules: Readonly<Record<IptablesKind, number>>;
}

/** The kind that the host uses: kubelet's hint, else the one with more rules, else the default, the first. Pure. */
export function chooseKind(present: readonly IptablesKind[], { hinted, rules }: Usage): IptablesKind | undefined {
  const [first] = present;
  const hint = KINDS.find((kind) => hinted.includes(kind) && present.includes(kind));
  if (hint !== undefined) return hint;
  return present.reduce((best, kind) => (best === undefined || rules[kind] > rules[best] ? kind : best), first);
}

/** Looks at what the kinds have in the kernel; a kind that has nothing there costs no fork. */
export async function usageOf(
  host: Host,
  found: readonly Iptables[],
  chains: readonly NftChain[],
  legacy: LegacyState,
  signal?: AbortSignal,
): Promise<Usage> {
  const hinted: IptablesKind[] = [];
  const rules = { legacy: 0, nft: 0 };
  const isIptables = ({ family, table }: NftChain) => (family === "ip" || family === "ip6") && TABLES.includes(table);
  for (const { kind, programs } of found) {
    const used = FAMILIES.filter((family) =>
      kind === "nft"
        ? chains.some((chain) => isIptables(chain) && chain.family === (family === 4 ? "ip" : "ip6"))
        : legacy.tables(family).length > 0,
    );
    for (const family of used) {
      const save = programs[family]?.save;
      if (save === undefined) continue;
      const { stdout } = await host.run([save], signal && { signal });
      if (HINTS.some((hint) => stdout.includes(`\n:${hint} `))) hinted.push(kind);
      rules[kind] += countRules(stdout);
    }
  }
  return { hinted, rules };
}

/** Our own, and those of a flanneld before us, say nothing of what the host uses. */
function countRules(saved: string): number {
  return saved.split("\n").filter((line) => line.startsWith("-A ") && !line.includes("FLANNEL-")).length;
}

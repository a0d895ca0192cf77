import { Nfnetlink, type NftChain, type NftTable } from "../../ffi/nfnetlink.ts";
import { LegacyTables } from "../../ffi/xtables.ts";
import { FAMILIES, type Family } from "../../net/family.ts";
import { LegacyState } from "../../rules/legacy-state.ts";
import { NotApplicable } from "./check.ts";
import { type KernelFeatures, presenceOf } from "./kernel-features.ts";

export const NF_TABLES = { module: "nf_tables", option: "NF_TABLES" };

/** The packet filters of this network namespace, only read, and without loading the one that is not in use. */
export class PacketFilters {
  readonly #features: KernelFeatures;
  readonly #legacy = new LegacyState((family) => new LegacyTables(family));
  #nft: { readonly tables: readonly NftTable[]; readonly chains: readonly NftChain[] } | undefined;

  constructor(features: KernelFeatures) {
    this.#features = features;
  }

  /** nf_tables' rule set; empty where it is not in use. @throws KernelError, NotApplicable */
  nft(): { readonly tables: readonly NftTable[]; readonly chains: readonly NftChain[] } {
    this.#nft ??= this.#readNft();
    return this.#nft;
  }

  #readNft() {
    const presence = presenceOf(NF_TABLES, this.#features);
    if (presence === "loadable" || presence === "missing") return { tables: [], chains: [] };
    if (presence === "unknown" && this.#features.loaded !== undefined)
      throw new NotApplicable(
        "whether nf_tables is in use can't be told here: give --host-root, or run it on the host",
      );
    using nfnetlink = new Nfnetlink();
    const tables = nfnetlink.tables();
    return { tables, chains: tables.length > 0 ? nfnetlink.chains() : [] };
  }

  get legacy(): LegacyState {
    return this.#legacy;
  }

  /** The families that have tables of legacy iptables. @throws KernelError */
  legacyFamilies(): Family[] {
    return FAMILIES.filter((family) => this.#legacy.tables(family).length > 0);
  }
}

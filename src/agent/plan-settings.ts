import { release } from "node:os";
import type { AgentFlags } from "../config/flags.ts";
import type { ExternalInterface } from "../config/interface.ts";
import type { PlanSettings } from "../desired/plan.ts";
import { chooseTxChecksum } from "../desired/tx-checksum.ts";

/** What the plan needs of the flags and of the machine; the very same object as long as the external interface stays. */
export class PlanSettingsKeeper {
  readonly #flags: AgentFlags;
  #known: { readonly external: ExternalInterface; readonly settings: PlanSettings } | undefined;

  constructor(flags: AgentFlags) {
    this.#flags = flags;
  }

  /** @param driverOf the name of an interface's driver */
  settings(external: ExternalInterface, driverOf: (name: string) => string | undefined): PlanSettings {
    if (this.#known?.external !== external) {
      const { ipBlackholeRoute, vxlanTxChecksum } = this.#flags;
      const underlay = { kernel: release(), driver: driverOf(external.name) };
      const txChecksum = {
        4: chooseTxChecksum(vxlanTxChecksum, underlay, 4),
        6: chooseTxChecksum(vxlanTxChecksum, underlay, 6),
      };
      this.#known = { external, settings: { blackholeRoute: ipBlackholeRoute, txChecksum } };
    }
    return this.#known.settings;
  }
}

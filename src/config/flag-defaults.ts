import { FLAG_NAMES, type FlagName, flagSpec } from "./flag-table.ts";

/** A flag that flanneld has on by default and that is off in this build. */
export interface DefaultOff {
  /** without dashes */
  readonly flag: string;
  readonly reason: string;
}

/** Where this build does less than flanneld would with the same arguments; the debug state shows it. */
export function defaultsOff(): DefaultOff[] {
  return FLAG_NAMES.flatMap((name) => {
    const off = flagSpec(name).notYet?.off;
    return off === undefined ? [] : [{ flag: name, reason: `not available in this build: ${off}` }];
  });
}

/** The default as this build has it, and flanneld's where they differ. Undefined: not set. */
export function effectiveDefault(name: FlagName): { here: string | undefined; flanneld?: string } {
  const { default: value, notYet } = flagSpec(name);
  if (notYet?.off === undefined || notYet.neutral === undefined || value === undefined) return { here: value };
  return { here: notYet.neutral, flanneld: value };
}

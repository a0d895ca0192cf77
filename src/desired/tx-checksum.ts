import type { Family } from "../net/family.ts";

/** What --vxlan-tx-checksum says. */
export type TxChecksumMode = "auto" | "on" | "off";

/** Whether a VXLAN device leaves checksums to the hardware below it (`ethtool -k`, `tx-checksum-ip-generic`). */
export interface TxChecksum {
  /** undefined: it stays as it is */
  readonly wanted?: boolean;
  readonly why: string;
}

/** What carries the encapsulated packets. */
export interface Underlay {
  /** `uname -r` */
  readonly kernel: string;
  /** of the external interface (`ethtool -i`); undefined where it has none */
  readonly driver: string | undefined;
}

interface KnownFault {
  readonly what: string;
  isPresent(underlay: Underlay, version: number, family: Family): boolean;
}

/** A kernel's version as a number by which versions can be compared. */
const version = (major: number, minor: number): number => major * 1000 + minor;

/**
 * Where packets are known to leave with a wrong checksum, so that the other node drops them.
 *
 * - Before Linux 5.7 (commit ea64d8d6c675), netfilter gave a UDP header without a checksum a wrong one when it translated
 *   the packet's source and the inner checksum was left to the hardware. IPv4 only: an outer IPv6 header has a checksum.
 *   Seen as "pods reach pods but no services" since kube-proxy masquerades with --random-fully (flannel issue 1279,
 *   Calico issue 3145, felix pull request 2811).
 * - vmxnet3 computes inner checksums since Linux 5.9 (commit dacce2be3312), and hosts of VMware do it wrongly where the
 *   port is not the one that they expect (Calico issue 4727, flannel issue 2152, Talos pull request 10238).
 */
const KNOWN_FAULTS: readonly KnownFault[] = [
  {
    what: "Linux before 5.7 corrupts checksums of masqueraded VXLAN packets",
    isPresent: (_, kernel, family) => family === 4 && kernel < version(5, 7),
  },
  {
    what: "vmxnet3 since Linux 5.9 corrupts checksums inside of VXLAN",
    isPresent: ({ driver }, kernel) => driver === "vmxnet3" && kernel >= version(5, 9),
  },
];

/** Whether the device of a family shall leave checksums to the hardware, and why. Pure. */
export function chooseTxChecksum(mode: TxChecksumMode, underlay: Underlay, family: Family): TxChecksum {
  if (mode !== "auto") return { wanted: mode === "on", why: `--vxlan-tx-checksum=${mode}` };
  const found = /^(\d+)\.(\d+)/.exec(underlay.kernel);
  const here = `Linux ${underlay.kernel}, driver ${underlay.driver ?? "unknown"}`;
  if (found === null) return { why: `left as it is: the kernel's version is not understood (${here})` };
  const kernel = version(Number(found[1]), Number(found[2]));
  const fault = KNOWN_FAULTS.find(({ isPresent }) => isPresent(underlay, kernel, family));
  return fault === undefined
    ? { why: `left as it is: no fault is known of ${here}` }
    : { wanted: false, why: `${fault.what} (${here})` };
}

import { inNetworkNamespace } from "../../src/ffi/libc.ts";
import type { KernelEvent } from "../../src/kernel/state.ts";
import { KernelWatch } from "../../src/kernel/watch.ts";
import type { Netns } from "../support/netns.ts";

export const say = (text: string): void => void process.stderr.write(`${text}\n`);

export const round = (value: number): number => Math.round(value * 100) / 100;

/** The value at a share of the length of a sorted copy. */
export function percentile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}

/** Sees every change in a namespace as it happens. */
export function watchKernel(ns: Netns, onEvent: (event: KernelEvent) => void): KernelWatch {
  return inNetworkNamespace(
    ns.path,
    () => new KernelWatch({ onEvent, onOverflow() {}, onFailure: (error) => say(error.message) }),
  );
}

/** Resident memory of a process in MB, now and at its highest (proc_pid_status(5)). */
export async function memoryOf(pid: number): Promise<{ residentMB: number; peakMB: number }> {
  const status = await Bun.file(`/proc/${pid}/status`).text();
  const megabytes = (key: string): number => round(Number(new RegExp(`${key}:\\s+(\\d+) kB`).exec(status)?.[1]) / 1024);
  return { residentMB: megabytes("VmRSS"), peakMB: megabytes("VmHWM") };
}

/** CPU time that a process has used so far, in seconds: fields 14 and 15 of proc_pid_stat(5), in ticks of 10 ms. */
export async function cpuSeconds(pid: number): Promise<number> {
  const fields = (await Bun.file(`/proc/${pid}/stat`).text()).split(") ")[1]?.split(" ") ?? [];
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

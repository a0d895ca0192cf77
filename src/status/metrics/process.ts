import { counter, gauge } from "./spec.ts";

/** By the names that Prometheus' own clients give them. */
export const PROCESS_METRICS = {
  process_cpu_seconds_total: counter(
    "CPU time of this process in user and system mode.",
    ({ figures }) => figures.cpuSeconds,
  ),
  process_resident_memory_bytes: gauge("Resident memory.", ({ figures }) => figures.residentBytes),
  process_virtual_memory_bytes: gauge("Virtual memory.", ({ figures }) => figures.virtualBytes),
  process_open_fds: gauge("Open file descriptors.", ({ figures }) => figures.openFiles),
  process_max_fds: gauge("How many file descriptors may be open.", ({ figures }) => figures.maxFiles),
  process_start_time_seconds: gauge("When this process started.", ({ figures }) => figures.startedAt),
};

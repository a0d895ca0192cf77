import type { LowestLevel } from "../base/log.ts";

/** What can be asked of the running agent; for whoever may write to its socket. */
export interface AgentControl {
  /** The kernel's state, and the packet filter's, is read anew and mended. Returns once the loop knows of it. */
  resync(): void;
  /** Until the agent ends or it is set again. */
  setLogLevel(level: LowestLevel): void;
}

/** Something on this node that tartan or flanneld made. */
export interface Item {
  readonly kind: "device" | "route" | "rules" | "file";
  /** what it is called, and with more about it in brackets */
  readonly name: string;
  /** @throws Error that says why it could not be removed */
  remove(): void | Promise<void>;
}

/** What was found, and what could not be looked for. */
export interface Findings {
  readonly items: readonly Item[];
  /** one sentence each */
  readonly problems: readonly string[];
  /** to be called when nothing is removed any more */
  close?(): void;
}

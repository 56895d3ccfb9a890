/** What a person can do something about: what was seen, and what to do. It ends the task without a stack trace. */
export class Problem extends Error {
  constructor(seen: string, remedy: string) {
    super(`${seen} ${remedy}`);
    this.name = "Problem";
  }
}

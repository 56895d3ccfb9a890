/** An error that the user can correct, with its remedy. It ends the task without a stack trace. */
export class Problem extends Error {
  constructor(seen: string, remedy: string) {
    super(`${seen} ${remedy}`);
    this.name = "Problem";
  }
}

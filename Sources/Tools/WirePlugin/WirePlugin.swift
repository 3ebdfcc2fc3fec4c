import Foundation
import PackagePlugin

/// Runs `wiregen` on every `.wire` file of a target: one build command a file, so that an edit regenerates one file, and one for the
/// catalog of all of them.
@main
struct WirePlugin: BuildToolPlugin {
  func createBuildCommands(context: PluginContext, target: any Target) throws -> [Command] {
    guard let target = target.sourceModule else { return [] }
    let tool = try context.tool(named: "wiregen").url
    let schemas = target.sourceFiles.map(\.url).filter { $0.pathExtension == "wire" }.sorted { $0.path < $1.path }
    var commands = schemas.map { schema in
      let output = context.pluginWorkDirectoryURL.appending(path: schema.deletingPathExtension().lastPathComponent + ".swift")
      return Command.buildCommand(
        displayName: "wiregen \(schema.lastPathComponent)", executable: tool, arguments: [schema.path, output.path],
        inputFiles: [schema], outputFiles: [output])
    }
    if !schemas.isEmpty {
      let catalog = context.pluginWorkDirectoryURL.appending(path: "WireCatalog.swift")
      commands.append(
        .buildCommand(
          displayName: "wiregen catalog", executable: tool, arguments: ["--catalog", catalog.path] + schemas.map(\.path),
          inputFiles: schemas, outputFiles: [catalog]))
    }
    return commands
  }
}

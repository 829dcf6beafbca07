"""The process that serves: started, guarded, drained."""

"""varloop"""
